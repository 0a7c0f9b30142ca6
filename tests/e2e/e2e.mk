# SPDX-License-Identifier: GPL-2.0-only
#
# The programs that the Debian guest runs, static, 64-bit and 32-bit, and the
# guest's images.

e2e-programs := $(O)/tests/e2e/check64 $(O)/tests/e2e/check32

$(O)/tests/e2e/check%: $(wildcard tests/e2e/guest/*.c) tests/e2e/guest/check.h
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -m$* -std=gnu11 -O1 -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
		-static -pthread -D_GNU_SOURCE -o $@ $(filter %.c,$^)

e2e-programs: $(e2e-programs)

test-needs += $(e2e-programs) $(guest-images) guest lab-needs

.PHONY: e2e-programs
