# SPDX-License-Identifier: GPL-2.0-only
#
# popf: `make help` lists what there is to make.
#
# Parts: settings, the module (through Kbuild), userland, unit tests, tests,
# lab and guest, checks. Everything made is under build/.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash

# --- settings ---------------------------------------------------------------

O      ?= build
V      ?= 0
W      ?= 0
C      ?= 0
WERROR ?= 1
HOSTCC ?= gcc
PREFIX ?= /usr/local

ifeq ($(V),1)
quiet :=
say    = @:
else
quiet := @
say    = @printf '  %-7s %s\n'
endif

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# --- what is needed from outside --------------------------------------------

# The package list is looked at once per change of the list itself.
packages := $(O)/.packages
zydis    := $(O)/zydis/.complete-4.0.0-1

all: module userland

$(packages): scripts/packages.txt
	$(quiet)scripts/ensure-packages
	$(quiet)mkdir -p $(@D) && touch $@

$(zydis): scripts/fetch-zydis | $(packages)
	$(quiet)scripts/fetch-zydis && touch $@

packages: $(packages)
zydis: $(zydis)

# --- the module -------------------------------------------------------------

# headers(RELEASE): installed, or those of the kernel that LAB_KERNEL names.
headers = $(strip $(if $(wildcard /lib/modules/$(1)/build/Makefile)$(if $(LAB_KERNEL),,no),\
	/lib/modules/$(1)/build,$(shell scripts/fetch-kernel headers)))

# The running kernel when its headers are here, else the lab's.
KREL ?= $(shell scripts/kernel-release)
KDIR ?= $(call headers,$(KREL))
farm  = $(O)/module-$(KREL)

# build/popf.ko has no debug information; build/module-<release>/popf.ko does.
# BTF needs the kernel's vmlinux, which distributions do not ship.
kbuild-flags = M=$(abspath $(farm)) V=$(V) W=$(filter-out 0,$(W)) C=$(C) \
	POPF_WERROR=$(if $(filter 1,$(WERROR)),y,n) CONFIG_DEBUG_INFO_BTF_MODULES=

module: $(zydis)
	$(quiet)[ -e "$(KDIR)/Makefile" ] || { \
		echo "make: the headers of kernel $(KREL) are missing at $(KDIR):" \
			"install linux-headers-$(KREL), or set KREL= or KDIR=" >&2; \
		exit 2; }
	$(quiet)scripts/module-tree $(farm)
	@# Without our O=, which would mean something else to the kernel's Makefile.
	$(quiet)MAKEFLAGS= $(MAKE) -s -j$(shell nproc) -C $(KDIR) $(kbuild-flags) modules
	$(quiet)strip --strip-debug -o $(farm)/popf-stripped.ko $(farm)/popf.ko
	$(quiet)[ "$(KREL)" != "$$(scripts/kernel-release)" ] || \
		cmp -s $(farm)/popf-stripped.ko $(O)/popf.ko || cp $(farm)/popf-stripped.ko $(O)/popf.ko

# --- userland ---------------------------------------------------------------

includes := -I. -Iinclude -Iinclude/uapi -I$(O)/zydis/include
zydis-flags := -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD -DZYDIS_DISABLE_FORMATTER

warnings := -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wmissing-prototypes -Wstrict-prototypes
ifeq ($(WERROR),1)
warnings += -Werror
endif
ifneq ($(W),0)
warnings += -Wshadow -Wunused-parameter
endif

CFLAGS   ?= -O2 -g
common    = -std=gnu11 -MMD -MP $(includes) $(zydis-flags) -D_GNU_SOURCE \
	-DPOPF_VERSION='"$(VERSION)"'
sanitize := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined

# objects(FLAVOUR, SOURCES)
objects = $(patsubst %.c,$(O)/$(1)/%.o,$(2))

userland-src := $(sort $(wildcard userland/*.c userland/*/*.c devices/*.c))
userland-obj := $(call objects,obj,$(userland-src))
zydis-names  := Decoder DecoderData Encoder EncoderData MetaInfo Mnemonic \
	Register Segment SharedData Utils Zydis

userland: $(if $(userland-src),$(O)/popf)

$(O)/popf: $(userland-obj) $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)$(HOSTCC) $(CFLAGS) -o $@ $^ -pthread -lseccomp

$(O)/obj/%.o: %.c | $(zydis)
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(common) $(warnings) $(CFLAGS) -pthread -c -o $@ $<

# Zydis for programs: plain, and a second time with sanitizers for the tests.
$(O)/zydis/obj/%.o: $(zydis)
	$(quiet)mkdir -p $(@D) && $(HOSTCC) -O2 -g -w $(includes) -I$(O)/zydis/src \
		$(zydis-flags) -c -o $@ $(O)/zydis/src/$*.c

$(O)/libzydis.a: $(zydis-names:%=$(O)/zydis/obj/%.o)
	$(say) AR $@
	$(quiet)rm -f $@ && ar rcs $@ $^

# --- unit tests -------------------------------------------------------------

# The C of monitor/ that compiles in a process, one file a line.
MONITOR_PORTABLE :=
MONITOR_PORTABLE += monitor/access.c
MONITOR_PORTABLE += monitor/clock.c
MONITOR_PORTABLE += monitor/control.c
MONITOR_PORTABLE += monitor/cpuid.c
MONITOR_PORTABLE += monitor/debug.c
MONITOR_PORTABLE += monitor/emulate.c
MONITOR_PORTABLE += monitor/emulate_alu.c
MONITOR_PORTABLE += monitor/emulate_desc.c
MONITOR_PORTABLE += monitor/emulate_io.c
MONITOR_PORTABLE += monitor/emulate_mem.c
MONITOR_PORTABLE += monitor/emulate_mmio.c
MONITOR_PORTABLE += monitor/emulate_priv.c
MONITOR_PORTABLE += monitor/emulate_stack.c
MONITOR_PORTABLE += monitor/emulate_string.c
MONITOR_PORTABLE += monitor/event.c
MONITOR_PORTABLE += monitor/far.c
MONITOR_PORTABLE += monitor/lapic.c
MONITOR_PORTABLE += monitor/lapic_timer.c
MONITOR_PORTABLE += monitor/msr.c
MONITOR_PORTABLE += monitor/segments.c
MONITOR_PORTABLE += monitor/state.c
MONITOR_PORTABLE += monitor/syscall.c

core-src    := $(sort $(wildcard bt/*.c shadow/*.c) $(MONITOR_PORTABLE))
core-asan   := $(call objects,asan,$(core-src))
core-plain  := $(call objects,plain,$(core-src))
device-asan := $(call objects,asan,$(sort $(wildcard devices/*.c)))
user-asan   := $(call objects,asan,$(filter-out %/main.c,$(sort $(wildcard userland/*.c userland/*/*.c))))
lib-asan    := $(if $(core-src),$(O)/libpopfcore-asan.a) \
	$(if $(device-asan),$(O)/libdevices-asan.a) \
	$(if $(user-asan),$(O)/libuserland-asan.a)

$(O)/asan/%.o: %.c | $(zydis)
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(common) $(warnings) $(sanitize) -pthread -c -o $@ $<

# Without sanitizers: for programs that run the translated code or measure.
$(O)/plain/%.o: %.c | $(zydis)
	$(say) CC $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(common) $(warnings) $(CFLAGS) -pthread -c -o $@ $<

$(O)/libpopfcore-asan.a: $(core-asan)
	$(say) AR $@
	$(quiet)rm -f $@ && ar rcs $@ $^

$(O)/libpopfcore.a: $(core-plain)
	$(say) AR $@
	$(quiet)rm -f $@ && ar rcs $@ $^

$(O)/libdevices-asan.a: $(device-asan)
	$(say) AR $@
	$(quiet)rm -f $@ && ar rcs $@ $^

$(O)/libuserland-asan.a: $(user-asan)
	$(say) AR $@
	$(quiet)rm -f $@ && ar rcs $@ $^

# Each tests/unit/*.c is a cmocka program. Settings in tests/unit/unit.mk or a
# tests/unit/<name>.mk of its own:
#   unit-helpers += file.c               a file of tests/unit that is no program
#   unit-extra-<name> := path/file.c ... further sources of a program
#   unit-libs-<name> := -lfoo            what it links with besides
unit-helpers :=
-include $(wildcard tests/unit/*.mk)

unit-names := $(sort $(patsubst tests/unit/%.c,%,$(filter-out \
	$(addprefix tests/unit/,$(notdir $(unit-helpers))),$(wildcard tests/unit/*.c))))
unit-bin   := $(unit-names:%=$(O)/unit/%)

$(O)/unit/%: $(O)/asan/tests/unit/%.o $(lib-asan) $(O)/libzydis.a
	$(say) LINK $@
	$(quiet)mkdir -p $(@D) && $(HOSTCC) $(sanitize) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(lib-asan) -Wl,--end-group $(O)/libzydis.a \
		-lcmocka -lseccomp -pthread $(unit-libs-$*)

$(foreach t,$(unit-names),$(eval $(O)/unit/$(t): $(call objects,asan,$(unit-extra-$(t)))))

unit-build: $(unit-bin)

unit: $(unit-bin)
	$(quiet)tests/run-tests.sh $(unit-bin)

# --- all tests --------------------------------------------------------------

# Every other kind of test is an executable tests/<kind>/test-* that prints TAP;
# what must be built first it adds to test-needs (for benchmarks: bench-needs) in
# tests/<kind>/<kind>.mk.
test-needs :=
bench-needs :=
-include $(filter-out tests/unit/%,$(wildcard tests/*/*.mk))

test-programs := $(filter-out tests/unit/%,$(sort $(wildcard tests/*/test-*)))
test-programs := $(filter-out %.c %.h %.S %.mk %.o %.txt %.py,$(test-programs))

# What takes minutes is not among them: tests/<kind>/long-* and programs that do
# more with LONG=1.
long-programs := $(sort $(wildcard tests/*/long-*)) tests/e2e/test-two-vms tests/fault/test-fault

ifeq ($(HW),bochs)
# The second machine instead: what it can show, and nothing else. It is slow.
test: lab-needs guest $(test-needs)
	$(quiet)HW=bochs TEST_TIMEOUT=10800 tests/run-tests.sh tests/lab/bochs.d/test-bochs \
		tests/guest/test-guests tests/e2e/test-debian
else ifeq ($(LONG),1)
# The long ones instead.
test: all $(test-needs)
	$(quiet)LONG=1 TEST_TIMEOUT=10800 tests/run-tests.sh $(long-programs)
else
test: all $(unit-bin) $(test-needs)
	$(quiet)tests/run-tests.sh $(unit-bin) $(test-programs)
endif

-include $(shell [ ! -d $(O) ] || find $(O)/obj $(O)/asan $(O)/plain -name '*.d' 2>/dev/null)

# --- lab and guest ----------------------------------------------------------

# Everything that runs in the lab uses the module built for the lab's kernel.
lab-needs: all
	$(quiet)[ "$(KREL)" = "$$(scripts/kernel-release lab)" ] || \
		$(MAKE) module KREL=$$(scripts/kernel-release lab)

lab: lab-needs
	$(quiet)tests/lab/run --interactive --module $(LABFLAGS) -- 'exec bash'

# ENGINE=tcg runs the same guest in QEMU on this machine, without popf: for
# work on the guest image and to compare.
guest: $(packages)
	$(quiet)scripts/make-guest

run: guest $(if $(filter tcg,$(ENGINE)),,lab-needs)
	$(quiet)+scripts/run-guest

export CMD HOST MEM APPEND ENGINE TIMEOUT ARGS OPS BENCH_SCALE BENCH_TIME BENCH_TCG
export TC_STREAMS TC_LIMIT TC_RECORD TC_GUEST
export LAB_KERNEL

bench: $(if $(filter native,$(BENCH)),bench-native,$(if $(filter report,$(BENCH)),,guest lab-needs $(bench-needs)))
	$(quiet)scripts/$(if $(filter native,$(BENCH)),bench-native,bench $(or $(BENCH),boot))

# --- the rest ---------------------------------------------------------------

c-folders := bt shadow monitor kmod devices userland include include/popf include/uapi

check-style:
	$(quiet)scripts/check-style --sparse

format:
	$(quiet)clang-format -i $(wildcard $(foreach d,$(c-folders),$(d)/*.[ch]))

install: all
	install -D -m 755 $(O)/popf $(DESTDIR)$(PREFIX)/bin/popf
	install -D -m 644 $(O)/popf.ko $(DESTDIR)/lib/modules/$(KREL)/extra/popf.ko
	[ -n "$(DESTDIR)" ] || depmod $(KREL)

clean:
	$(quiet)rm -rf $(O)

help:
	@sed 's/^/  /' scripts/help.txt

.PHONY: all packages zydis module userland unit unit-build test lab lab-needs guest run bench \
	check-style format install clean help
.SECONDARY:
