# SPDX-License-Identifier: GPL-2.0-only
#
# make diff [TIME=seconds] [SEED=n]: random programs natively and translated, longer
# than the unit test does it. ARGS= for the options in tests/diff/diff.c.

diff-src := tests/diff/diff.c tests/diff/bt_diff.c tests/diff/bt_shrink.c \
	tests/diff/bt_rig.c tests/diff/bt_gen.c tests/diff/bt_gen_insn.c \
	tests/diff/bt_gen_wild.c

$(O)/diff/diff: $(call objects,plain,$(diff-src) $(wildcard bt/*.c)) $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(CFLAGS) -o $@ $^ -pthread

test-needs += $(O)/diff/diff

# The seed is the time of day, so that no two runs are the same.
diff: $(O)/diff/diff
	$(quiet)$(O)/diff/diff --time $(or $(TIME),60) --seed $(or $(SEED),$$(date +%s)000000) $(ARGS)

.PHONY: diff
