# SPDX-License-Identifier: GPL-2.0-only
#
# Guest images: build/tests/guest/<name>.elf from tests/guest/<name>.c and lib/.
#
#   make guest-images     build them
#   make guest-oracle     run them in QEMU TCG on this machine, without popf

guest-names  := $(sort $(basename $(notdir $(wildcard tests/guest/*.c))))
guest-images := $(guest-names:%=$(O)/tests/guest/%.elf)
guest-lib    := $(patsubst tests/guest/lib/%,$(O)/tests/guest/lib/%.o,\
	$(wildcard tests/guest/lib/*.c tests/guest/lib/*.S))

guest-cflags := -std=gnu11 -m64 -O2 -g -MMD -MP -ffreestanding -fno-pic -fno-pie \
	-mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-toplevel-reorder \
	-Wno-clobbered -Wno-array-bounds -Wno-infinite-recursion \
	-Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Werror -Itests/guest/lib

$(O)/tests/guest/lib/%.o: tests/guest/lib/%
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(guest-cflags) -c -o $@ $<

$(O)/tests/guest/%.o: tests/guest/%.c
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(guest-cflags) -c -o $@ $<

$(O)/tests/guest/%.elf: $(O)/tests/guest/%.o $(guest-lib) tests/guest/lib/guest.lds
	$(say) LINK $@
	$(quiet)ld -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments --build-id=none \
		-T tests/guest/lib/guest.lds -o $@ $< $(guest-lib)

guest-images: $(guest-images)

guest-oracle: $(guest-images)
	$(quiet)tests/guest/test-guests --oracle

test-needs += $(guest-images)

-include $(wildcard $(O)/tests/guest/*.d $(O)/tests/guest/lib/*.d)

.PHONY: guest-images guest-oracle
