# SPDX-License-Identifier: GPL-2.0-only
# What the translator's test programs are made of besides their own file.
bt-rig := tests/diff/bt_rig.c tests/diff/bt_gen.c tests/diff/bt_gen_insn.c \
	tests/diff/bt_gen_wild.c
unit-extra-test_bt_diff := $(bt-rig) tests/diff/bt_diff.c tests/diff/bt_shrink.c
unit-extra-test_bt_priv := $(bt-rig)
unit-extra-test_bt_bounce := $(bt-rig)
unit-extra-test_bt_return := $(bt-rig)
unit-extra-test_bt_decode := tests/diff/decode_agree.c
unit-extra-test_bt_recording := $(bt-rig)

unit-helpers += bt_guest.c
bt-guest := tests/unit/bt_guest.c
unit-extra-test_bt_cache := $(bt-guest)
unit-extra-test_bt_evict := $(bt-guest)
unit-extra-test_tc_replay := $(addprefix tests/bench/,tc_replay.c tc_stream.c tc_classes.c)
