# SPDX-License-Identifier: GPL-2.0-only
#
# The replay of the recorded streams is a unit test, test_stream_replay. This
# takes what the translator makes of them now as what it shall make of them.

test-needs += $(O)/unit/test_stream_replay

stream-rebase: $(O)/unit/test_stream_replay
	$(quiet)POPF_STREAM_REBASE=1 $(O)/unit/test_stream_replay
	$(quiet)git --no-pager diff --stat -- tests/stream

.PHONY: stream-rebase
