# SPDX-License-Identifier: GPL-2.0-only
#
# Fuzz targets: tests/fuzz/fuzz_<name>.c. Each is built up to three times:
#   build/fuzz/replay-<name>     gcc and sanitizers: replays the corpus, in make test
#   build/fuzz/libfuzzer-<name>  clang and sanitizers: a few seconds in make test
#   build/fuzz/afl-<name>        AFL++'s clang and sanitizers: make fuzz ENGINE=afl

fuzz-names := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out \
	tests/fuzz/fuzz_fail.c,$(wildcard tests/fuzz/fuzz_*.c)))

# Further sources of a target.
fuzz-extra-decode := tests/diff/decode_agree.c
fuzz-extra-emulate := tests/unit/mon_rig.c
fuzz-extra-stream := $(wildcard userland/stream/*.c)

# fuzz-sources(TARGET)
fuzz-sources = tests/fuzz/fuzz_$(1).c tests/fuzz/fuzz_fail.c $(fuzz-extra-$(1))
fuzz-asan    = $(call objects,asan,$(call fuzz-sources,$(1)) tests/fuzz/replay.c)
fuzz-clang   = $(call objects,clang,$(call fuzz-sources,$(1))) $(O)/clang/libcore.a
fuzz-afl     = $(call objects,afl,$(call fuzz-sources,$(1)) tests/fuzz/replay.c) \
	$(O)/afl/libcore.a
fuzz-core   := $(core-src) $(zydis-names:%=zydis/%.c)

$(O)/fuzz/replay-%: $(lib-asan) $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(sanitize) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(lib-asan) -Wl,--end-group $(O)/libzydis.a -pthread

# The code under test, Zydis included, instrumented for coverage.
FUZZCC    ?= clang
AFLCC     ?= afl-clang-fast
fuzz-flags = -std=gnu11 -MMD -MP $(includes) $(zydis-flags) -D_GNU_SOURCE -w \
	-DPOPF_VERSION='"fuzz"' -O1 -g -fno-omit-frame-pointer -pthread

$(O)/fuzz/libfuzzer-%:
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(FUZZCC) -fsanitize=fuzzer,address,undefined \
		-o $@ $(filter %.o %.a,$^) -pthread

$(O)/clang/libcore.a: $(call objects,clang,$(fuzz-core))
	$(quiet)rm -f $@ && ar rcs $@ $^

$(O)/clang/%.o: %.c | $(zydis)
	$(say) CLANG $@
	$(quiet)mkdir -p $(@D) && $(FUZZCC) $(fuzz-flags) -fsanitize=fuzzer-no-link,address,undefined \
		-fno-sanitize-recover=undefined -c -o $@ $<

$(O)/clang/zydis/%.o: $(zydis)
	$(quiet)mkdir -p $(@D) && $(FUZZCC) $(fuzz-flags) -I$(O)/zydis/src \
		-fsanitize=fuzzer-no-link -c -o $@ $(O)/zydis/src/$*.c

$(O)/fuzz/afl-%:
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && AFL_QUIET=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1 $(AFLCC) \
		-o $@ $(filter %.o %.a,$^) -pthread

$(O)/afl/libcore.a: $(call objects,afl,$(fuzz-core))
	$(quiet)rm -f $@ && ar rcs $@ $^

$(O)/afl/%.o: %.c | $(zydis)
	$(say) AFL $@
	$(quiet)mkdir -p $(@D) && AFL_QUIET=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1 $(AFLCC) \
		$(fuzz-flags) -c -o $@ $<

$(O)/afl/zydis/%.o: $(zydis)
	$(quiet)mkdir -p $(@D) && AFL_QUIET=1 $(AFLCC) $(fuzz-flags) -I$(O)/zydis/src \
		-c -o $@ $(O)/zydis/src/$*.c

$(foreach t,$(fuzz-names),\
	$(eval $(O)/fuzz/replay-$(t): $(call fuzz-asan,$(t)))\
	$(eval $(O)/fuzz/libfuzzer-$(t): $(call fuzz-clang,$(t)))\
	$(eval $(O)/fuzz/afl-$(t): $(call fuzz-afl,$(t))))

-include $(shell [ ! -d $(O) ] || find $(O)/clang $(O)/afl -name '*.d' 2>/dev/null)

test-needs += $(fuzz-names:%=$(O)/fuzz/replay-%) $(fuzz-names:%=$(O)/fuzz/libfuzzer-%)

# make fuzz [TIME=seconds] [TARGET=name] [ENGINE=libfuzzer|afl]: TIME is for each target.
TARGET ?= $(fuzz-names)
fuzz-engine := $(if $(filter afl,$(ENGINE)),afl,libfuzzer)

fuzz: $(packages) fuzz-packages
	$(quiet)$(MAKE) $(TARGET:%=$(O)/fuzz/$(fuzz-engine)-%)
	$(quiet)scripts/fuzz $(fuzz-engine) $(or $(TIME),60) $(TARGET)

fuzz-packages:
	$(quiet)scripts/ensure-packages $$(sed 's/[[:space:]]*#.*//; /^$$/d' scripts/packages-fuzz.txt)

.PHONY: fuzz fuzz-packages
