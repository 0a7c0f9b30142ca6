# SPDX-License-Identifier: GPL-2.0-only
shadow-rig := tests/unit/shadow_rig.c tests/unit/gmem_array.c
unit-helpers += shadow_rig.c gmem_array.c
unit-extra-test-shadow-basic := $(shadow-rig)
unit-extra-test-shadow-walk := $(shadow-rig)
unit-extra-test-shadow-random := $(shadow-rig)
unit-extra-test-shadow-large := $(shadow-rig)
unit-extra-test-shadow-edge := $(shadow-rig)
unit-extra-test-shadow-unsync := $(shadow-rig)
unit-extra-test-shadow-look := $(shadow-rig)
