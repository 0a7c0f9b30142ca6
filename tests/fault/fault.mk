# SPDX-License-Identifier: GPL-2.0-only
#
# The module that makes allocations fail, for the lab's kernel. The programs are
# built by tests/abi/abi.mk.

failalloc-release := $(shell scripts/kernel-release lab)
failalloc-farm := $(O)/fault/failalloc-$(failalloc-release)

$(failalloc-farm)/failalloc.ko: tests/fault/failalloc/failalloc.c tests/fault/failalloc/Kbuild
	$(say) MODULE $@
	$(quiet)mkdir -p $(@D) && cp $^ $(@D)/
	$(quiet)$(MAKE) -s -C $(call headers,$(failalloc-release)) \
		M=$(abspath $(@D)) CONFIG_DEBUG_INFO_BTF_MODULES= modules

# test-host-memory boots the Debian guest.
test-needs += $(failalloc-farm)/failalloc.ko guest
lab-tests: $(failalloc-farm)/failalloc.ko
