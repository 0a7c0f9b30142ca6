# SPDX-License-Identifier: GPL-2.0-only
#
# bench/native runs the programs of tests/bench/native natively and translated.
# They are compiled with the flags of Debian's 6.1 kernel, but for what needs the
# rest of a kernel: no stack protector (it wants GS), no thunks for indirect
# branches and returns (a kernel replaces them at boot), no entry hooks; and with
# jump tables, which are measured too. -mcmodel=kernel code runs at any address
# that a sign-extended 32-bit number reaches, so also in a process.

native-src   := $(sort $(wildcard tests/bench/native/*.c))
native-obj   := $(native-src:%.c=$(O)/bench/%.o)
native-flags := -std=gnu11 -O2 -ffreestanding -mcmodel=kernel -fno-pic -mno-red-zone \
	-mno-sse -mno-mmx -mno-sse2 -mno-3dnow -mno-avx -mno-80387 -mno-fp-ret-in-387 \
	-mpreferred-stack-boundary=3 -mskip-rax-setup -mtune=generic \
	-falign-jumps=1 -falign-loops=1 -fcf-protection=none -fno-strict-aliasing \
	-fno-common -fno-delete-null-pointer-checks -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns

$(O)/bench/deflated.h: tests/bench/native/deflated.py
	$(say) GEN $@
	$(quiet)mkdir -p $(@D) && $< $@

$(O)/bench/tests/bench/native/%.o: tests/bench/native/%.c tests/bench/native/programs.h $(O)/bench/deflated.h
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(native-flags) $(warnings) -I$(O)/bench -c -o $@ $<

$(O)/bench/programs.bin: tests/bench/native/image.ld $(native-obj)
	$(say) LINK $@
	$(quiet)ld -static -nostdlib --no-warn-rwx-segments -T $< -o $(@:.bin=.elf) $(native-obj)
	$(quiet)objcopy -O binary --set-section-flags .bss=alloc,load,contents $(@:.bin=.elf) $@

bench-programs := native bt_callret bt_translate
bench-rig      := $(call objects,plain,tests/diff/bt_rig.c)

$(O)/bench/native $(O)/bench/bt_callret: $(bench-rig)
$(bench-programs:%=$(O)/bench/%): $(O)/bench/%: $(O)/plain/tests/bench/%.o $(O)/libpopfcore.a $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(CFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(O)/libpopfcore.a -Wl,--end-group $(O)/libzydis.a

bench-native: $(bench-programs:%=$(O)/bench/%) $(O)/bench/programs.bin

test-needs += $(O)/bench/native $(O)/bench/programs.bin

.PHONY: bench-native
