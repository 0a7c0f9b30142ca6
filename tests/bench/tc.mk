# SPDX-License-Identifier: GPL-2.0-only
#
# bench/tc replays recorded streams through the translation cache (BENCH=tc).

tc-stream := $(call objects,plain,$(wildcard userland/stream/*.c))
tc-parts  := $(call objects,plain,$(addprefix tests/bench/,tc_main.c tc_replay.c \
	tc_stream.c tc_classes.c))

$(O)/bench/tc: $(tc-parts) $(tc-stream) $(O)/libpopfcore.a $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(CFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(O)/libpopfcore.a -Wl,--end-group $(O)/libzydis.a

bench-needs += $(O)/bench/tc

# For the guest: static.
$(O)/bench/mark: tests/bench/mark.c
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(warnings) -O2 -static -o $@ $<

bench-needs += $(O)/bench/mark
