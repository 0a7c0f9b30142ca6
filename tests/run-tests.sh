#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# run-tests.sh PROGRAM...: run test programs and total what they say.
#
# A program reports in TAP: "ok N - name", "not ok N - name", and
# "ok N - name # SKIP reason". A program that reports nothing counts as one
# failure, or with exit status 77 as one skip; one that ends badly after only
# passes counts as one failure more. The last line is the totals, alone.
#
# TEST_TIMEOUT (seconds, default 1200) bounds each program; TEST_VERBOSE=1 shows
# all output.
set -u

passed=0 failed=0 skipped=0
skip_line='^(not )?ok .*# *[Ss][Kk][Ii][Pp]'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# cmocka programs speak TAP when told to.
export CMOCKA_MESSAGE_OUTPUT=tap

count()
{
	grep -Ec "$1" "$log"
}

# report NAME STATUS SECONDS: add the program's lines to the totals.
report()
{
	local name=$1 status=$2 seconds=$3 ok bad skip note=

	# cmocka says "not ok N # SKIP name" of a test that called skip().
	skip=$(count "$skip_line")
	ok=$(grep -Ev "$skip_line" "$log" | grep -Ec '^ok ')
	bad=$(grep -Ev "$skip_line" "$log" | grep -Ec '^not ok ')
	if [ $((ok + bad + skip)) -eq 0 ]; then
		if [ "$status" -eq 77 ]; then
			skip=1 note=" ($(tail -n 1 "$log"))"
		else
			bad=1 note=' (it reported no test)'
		fi
	elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1 note=" (ended with status $status)"
	fi
	[ "$status" -ne 124 ] || note=" (timeout)"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))

	printf '%-6s %s: %d passed, %d failed, %d skipped, %ds%s\n' \
		"$([ "$bad" -gt 0 ] && echo FAIL || echo ok)" \
		"$name" "$ok" "$bad" "$skip" "$seconds" "$note"
	if [ "$bad" -gt 0 ] || [ "${TEST_VERBOSE:-0}" = 1 ]; then
		# What failed may have been long before the end.
		grep -E -A 3 '^not ok ' "$log" | grep -Ev "$skip_line" | head -n 60 |
			sed 's/^/    failed: /'
		tail -n 200 "$log" | sed 's/^/    /'
	else
		grep -E "$skip_line" "$log" | sed 's/^/    /'
	fi
}

for program; do
	start=$SECONDS
	timeout -k 10 "${TEST_TIMEOUT:-1200}" "$program" >"$log" 2>&1 </dev/null
	report "$program" $? $((SECONDS - start))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + failed)) -gt 0 ]
