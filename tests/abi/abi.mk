# SPDX-License-Identifier: GPL-2.0-only
#
# Programs for the lab, one per tests/abi/*.c and tests/fault/*.c with a main():
# static, because they run under the lab's kernel with this tree's files only.

lab-test-common := abi guest
abi-names := $(filter-out $(lab-test-common),$(patsubst tests/abi/%.c,%,$(wildcard tests/abi/*.c)))
fault-names := $(patsubst tests/fault/%.c,%,$(wildcard tests/fault/*.c))
lab-test-bin := $(abi-names:%=$(O)/abi/%) $(fault-names:%=$(O)/fault/%)
lab-test-obj := $(call objects,obj,$(lab-test-common:%=tests/abi/%.c))

$(O)/abi/%: $(O)/obj/tests/abi/%.o $(lab-test-obj)
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -static -pthread -o $@ $^

$(O)/fault/%: $(O)/obj/tests/fault/%.o $(lab-test-obj)
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -static -pthread -o $@ $^

# The same claims made by a 32-bit program.
lab-test-bin32 := $(O)/abi/memslot32 $(O)/abi/vcpu32

$(O)/abi/%32: tests/abi/%.c tests/abi/abi.c tests/abi/guest.c tests/abi/abi.h | $(zydis)
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -m32 -std=gnu11 $(includes) -D_GNU_SOURCE \
		$(warnings) -O2 -static -pthread -o $@ $(filter %.c,$^)

lab-test-bin += $(lab-test-bin32)

lab-tests: $(lab-test-bin)

test-needs += $(lab-test-bin)

.PHONY: lab-tests
