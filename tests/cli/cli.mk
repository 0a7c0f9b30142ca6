# SPDX-License-Identifier: GPL-2.0-only
# The command as a process, with a device that is a preloaded library.

test-needs += $(O)/cli/fake-device.so

$(O)/cli/fake-device.so: tests/cli/fake-device.c
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -std=gnu11 $(warnings) -O2 -g -shared -fPIC \
		-o $@ $< -ldl
