# SPDX-License-Identifier: GPL-2.0-only
#
# Unit tests of monitor/'s portable C: all of them run on the same rig.

unit-helpers += mon_rig.c
$(foreach t,callout control debug event lapic memory segments,\
	$(eval unit-extra-test-mon-$(t) := tests/unit/mon_rig.c))
