#!/bin/sh
# usage: tools/module.sh NAME: gives the module, and those inside its folder, another path.
# Only what git knows is changed. The path stands in go.mod files, in imports, and in strings and
# pages that name our packages.
set -eu
cd "$(dirname "$0")/.."
new=${1:-}
printf '%s\n' "$new" | grep -Eqx '[a-zA-Z0-9][a-zA-Z0-9._~-]*(/[a-zA-Z0-9._~-]+)*' || {
	echo "usage: make module NAME=example.org/sekali" >&2
	exit 2
}
old=$(sed -n 's/^module //p' go.mod)
[ "$new" != "$old" ] || exit 0
escaped=$(printf '%s' "$old" | sed 's/[.~]/\\&/g')
# Our packages are in these folders; so /etc/sekali and https://logs.example/sekali are left alone.
folders=$(git ls-files | sed -n 's,/.*\.go$,,p' | sort -u | tr '\n' '|')tools
git ls-files '*.go' '*.md' '*go.mod' | grep -v '^results/' | while read -r file; do
	sed -E -e "s,(^|[^A-Za-z0-9_./~-])$escaped/($folders)([^A-Za-z0-9_-]|\$),\1$new/\2\3,g" \
		-e "s,(^|[^A-Za-z0-9_./~-])$escaped/($folders)([^A-Za-z0-9_-]|\$),\1$new/\2\3,g" \
		-e "s,\"$escaped/\",\"$new/\",g" \
		-e "s,^(module |replace |require |	)$escaped( |\$),\1$new\2," "$file" >"$file.renamed"
	if cmp -s "$file" "$file.renamed"; then rm "$file.renamed"; else cat "$file.renamed" >"$file" && rm "$file.renamed"; fi
done
gofmt -w $(git ls-files '*.go')
echo "the module is $new; commit what changed"
