# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Helpers shared by the scripts: sourced, never run. Sets $top (the repository)
# and $build (its build folder, overridable with O=).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${O:-$top/build}")
mkdir -p "$build"

# One sentence on stderr.
say()
{
	echo "${0##*/}: $*" >&2
}

# One sentence on stderr, then status 2: the caller's environment is at fault.
die()
{
	say "$*"
	exit 2
}

need()
{
	command -v "$1" >/dev/null ||
		die "the program '$1' is missing: run scripts/ensure-packages as root"
}

# with_lock NAME COMMAND...: two makes at once must not fetch into one folder.
with_lock()
{
	local name=$1

	shift
	(
		flock -w 600 9 || die "another build holds $build/.lock-$name"
		"$@"
	) 9>"$build/.lock-$name"
}

# real_package METAPACKAGE: the kernel image package it stands for.
real_package()
{
	apt-cache depends "$1" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

# lab_release: kernel release of the lab host. That of $LAB_KERNEL, a series that
# Debian has a stock kernel of, such as 6.12; without it the newest installed
# stock header package's, because the module is built against that.
lab_release()
{
	local rel

	if [ -n "${LAB_KERNEL-}" ]; then
		rel=$(real_package "linux-image-$LAB_KERNEL-amd64")
		[ -n "$rel" ] ||
			die "LAB_KERNEL=$LAB_KERNEL: apt knows no linux-image-$LAB_KERNEL-amd64"
		echo "${rel#linux-image-}"
		return
	fi
	rel=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' \
		'linux-headers-[0-9]*-amd64' 2>/dev/null |
		sed -n 's/^installed linux-headers-\([0-9][0-9.]*-[0-9]*-amd64\)$/\1/p' |
		sort -V | tail -n 1)
	[ -n "$rel" ] ||
		die "no linux-headers-*-amd64 package is installed: run scripts/ensure-packages as root"
	echo "$rel"
}

# headers_folder RELEASE: where its headers are, or would be. Those of the kernel
# that $LAB_KERNEL names are unpacked under build/, never installed.
headers_folder()
{
	if [ -n "${LAB_KERNEL-}" ] && [ ! -e "/lib/modules/$1/build/Makefile" ]; then
		echo "$build/kernels/linux-headers-$1/usr/src/linux-headers-$1"
	else
		echo "/lib/modules/$1/build"
	fi
}
