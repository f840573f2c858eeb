#!/bin/sh
# usage: tools/release.sh VERSION PLATFORM...: makes bin/release; `make release` calls it.
# For each platform: an archive, and what each program consists of. For Linux: a package for Debian.
# One commit gives the same bytes again, by the same Go: there is no time in them but the commit's,
# no path and no owner. Needs GNU tar.
set -eu
cd "$(dirname "$0")/.."
version=$1
shift
export CGO_ENABLED=0 LC_ALL=C TZ=UTC
# 1980 where there is no commit: an archive of zip cannot say less.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH
programs='aggregator loadgen sekali-log'
completed='aggregator loadgen'
out=bin/release
tool() { GOFLAGS= GOOS= GOARCH= go tool -modfile=tools/go.mod "$@"; }
build() { # FILE PROGRAM; the log is a module of its own
	case $2 in sekali-log) dir=sekali-log package=. ;; *) dir=. package=./cmd/$2 ;; esac
	go build -C "$dir" -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$PWD/$1" "$package"
}

# A version of Debian begins with a digit. That of a commit without a tag before it is older than
# all, and a ~ makes 1.0.0~rc1 older than 1.0.0.
case $version in
v[0-9]*) DEB_VERSION=$(printf '%s' "${version#v}" | sed -E 's/-(alpha|beta|rc)/~\1/' | tr - +) ;;
*) DEB_VERSION=0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M)~$(printf '%s' "$version" | tr -c '[:alnum:]\n' .) ;;
esac
export DEB_VERSION

rm -rf "$out"
mkdir -p "$out/stage/completions"
for program in $completed; do
	build "$out/stage/host-$program" "$program"
	"$out/stage/host-$program" completion bash >"$out/stage/completions/$program"
	"$out/stage/host-$program" completion zsh >"$out/stage/completions/_$program"
	"$out/stage/host-$program" completion fish >"$out/stage/completions/$program.fish"
done

for platform in "$@"; do
	os=${platform%/*} arch=${platform#*/}
	name=sekali-$version-$os-$arch
	mkdir "$out/$name"
	for program in $programs; do
		GOOS=$os GOARCH=$arch build "$out/$name/$program" "$program"
		tool cyclonedx-gomod bin -json -std -noserial -notimestamp -version "$version" \
			-output "$out/$name-$program.cdx.json" "$out/$name/$program"
	done
	cp -R LICENSE README.md CHANGELOG.md ops "$out/stage/completions" "$out/$name/"
	rm -f "$out/$name/ops/"*.go
	chmod -R u=rwX,go=rX "$out/$name"
	tar -C "$out" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
		-cf - "$name" | gzip -n9 >"$out/$name.tar.gz"
	if [ "$os" = linux ]; then
		rm -rf "$out/stage/root"
		mv "$out/$name" "$out/stage/root"
		DEB_ARCH=$arch tool nfpm package -f ops/deb/nfpm.yaml -p deb -t "$out/sekali_${DEB_VERSION}_$arch.deb" >&2
	else
		rm -r "$out/$name"
	fi
done
rm -r "$out/stage"
cd "$out"
sha256sum -- * >SHA256SUMS
