# SPDX-License-Identifier: GPL-2.0-only
#
# The programs that `make bench BENCH=ops` and BENCH=boot measure. They run on the
# lab host and in guests: static.

bench-needs += $(O)/bench/ops

$(O)/bench/ops: tests/bench/ops.c
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -std=gnu11 -O2 -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
		-static -pthread -D_GNU_SOURCE -o $@ $<

bench-needs += $(O)/bench/loop

$(O)/bench/loop: tests/bench/loop.c tests/bench/native/sha256.c tests/bench/native/programs.h
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -std=gnu11 -O2 -Wall -Wextra -Wno-unused-function \
		$(if $(filter 1,$(WERROR)),-Werror) -static -o $@ $<
