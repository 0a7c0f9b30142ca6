# SPDX-License-Identifier: GPL-2.0-only
#
# The program whose operations `make bench BENCH=ops` measures. It runs on the
# lab host and in guests: static.

bench-needs += $(O)/bench/ops

$(O)/bench/ops: tests/bench/ops.c
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -std=gnu11 -O2 -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
		-static -pthread -D_GNU_SOURCE -o $@ $<
