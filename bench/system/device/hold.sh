# Makes a disk of a file, holds it to its limits, and gives everything back when its standard input
# ends: so it does when whoever started it is gone, however that ended.
# Arguments: the file, its bytes, the folder to mount it at, a throttle's folder, bytes a second and
# operations a second; 0: no limit.
set -e
image=$1 bytes=$2 folder=$3 throttle=$4 rate=$5 operations=$6
loop= number=

limit() { # of bytes, of operations; 0 takes the rule away
	for direction in read write; do
		echo "$number $1" >"$throttle/blkio.throttle.${direction}_bps_device"
		echo "$number $2" >"$throttle/blkio.throttle.${direction}_iops_device"
	done
}

give_back() {
	code=$?
	set +e
	if [ -n "$number" ]; then limit 0 0 || code=1; fi
	if mountpoint -q "$folder"; then
		# Whoever still writes to it is being killed, and takes a moment to go.
		for attempt in 1 2 3 4 5 6 7 8 9 10; do
			umount "$folder" 2>/dev/null && break
			sleep 0.2
		done
		if mountpoint -q "$folder"; then umount -l "$folder" || code=1; fi
	fi
	if [ -n "$loop" ]; then losetup --detach "$loop" || code=1; fi
	rm -f "$image"
	rmdir "$folder" 2>/dev/null
	exit $code
}
trap '' INT HUP TERM QUIT
trap give_back EXIT

truncate -s "$bytes" "$image"
loop=$(losetup --find --show --direct-io=on "$image")
number=$(cat "/sys/block/${loop##*/}/dev")
# All is initialised now: what the kernel did later in the background would be the aggregator's
# time.
mkfs.ext4 -q -N 16384 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$loop"
mkdir -p "$folder"
mount -o noatime "$loop" "$folder"
limit "$rate" "$operations"
echo held
cat >/dev/null
