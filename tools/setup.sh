# Sourced by tools/quickstart and tools/test: a shell that stops at errors, messages, and the packages of tools/packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n==> %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

wanted_packages() { grep -v '^ *#' tools/packages; }

missing_packages() {
    for package in $(wanted_packages); do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
    done
}

# Installs what is missing; asks for root only then.
install_packages() {
    command -v dpkg-query >/dev/null || die "this is no Debian or Ubuntu: install the like of tools/packages and use --no-install"
    local missing sudo=()
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    say "Installing $(echo "$missing" | tr '\n' ' ')"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "packages are missing and there is no sudo; as root: apt-get install $(echo "$missing" | tr '\n' ' ')"
        sudo=(sudo)
    fi
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# build PRESET: configures and builds into build/PRESET.
build() {
    say "Building ($1)"
    mkdir -p build
    cmake --preset "$1" >"build/configure-$1.log" 2>&1 || { cat "build/configure-$1.log" >&2; die "cmake failed"; }
    cmake --build --preset "$1" -- --quiet
}
