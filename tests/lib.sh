# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For test scripts: sourced, never run. Reports in TAP, as tests/run-tests.sh
# reads it. A script ends with tap_end.

tap_count=0
tap_failed=0

# claim TEXT COMMAND...: the test TEXT passes when COMMAND does.
claim()
{
	local text=$1 out

	shift
	tap_count=$((tap_count + 1))
	if out=$("$@" 2>&1); then
		echo "ok $tap_count - $text"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $text"
		echo "$out" | tail -n 60 | sed 's/^/# /'
	fi
}

# skip TEXT REASON
skip()
{
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

# expect WHAT WANTED GOT: for use inside a claim.
expect()
{
	[ "$2" = "$3" ] || {
		printf '%s: wanted <%s>, got <%s>\n' "$1" "$2" "$3"
		return 1
	}
}

tap_end()
{
	echo "1..$tap_count"
	[ $tap_failed -eq 0 ]
}
