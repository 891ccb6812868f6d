#!/usr/bin/env bash
# Runs every test of Larder: tests/run.sh [arguments for the test binaries, such as a part of a test's name]
#
# In: a Debian or Ubuntu machine with Rust; elsewhere, with what `servers` below looks for already installed.
# Out: a summary, and exit code 0 only if every test passed.
# It never touches a database server of the machine: the tests start their own, on free ports, in temporary folders.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

started=$SECONDS
summary=()
failed=0
failures=
shown=$(mktemp)
trap 'rm -f "$shown"' EXIT
# Cargo sees a pipe in any case.
[ -t 1 ] && export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-always}"

say() { printf '\n==> %s\n' "$*"; }

die() {
    printf '\ntests/run.sh: %s\n' "$*" >&2
    exit 1
}

# Runs one step, shows it, and keeps its outcome, and what its failed tests said, for the summary.
step() {
    local name=$1 start=$SECONDS outcome=ok
    shift
    say "$name"
    "$@" </dev/null 2>&1 | tee "$shown"
    if [ "${PIPESTATUS[0]}" != 0 ]; then
        outcome=FAILED
        failed=1
        failures+=$(sed -n '/^failures:$/,/^test result/p' "$shown")
    fi
    summary+=("$(printf '%-6s  %4ds  %s' "$outcome" "$((SECONDS - start))" "$name")")
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs to install packages: run as root, install sudo, or install by hand: $*"
    fi
}

has_postgres() {
    local folder
    for folder in "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin ${PATH//:/ }; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && return 0
    done
    return 1
}

has_mariadb() {
    local PATH=$PATH:/usr/sbin:/usr/libexec
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null
}

has_redis() {
    local PATH=$PATH:/usr/sbin
    { command -v redis-server || command -v valkey-server || command -v redis-check-rdb; } >/dev/null &&
        { command -v redis-cli || command -v valkey-cli; } >/dev/null
}

has_chromium() { command -v chromedriver >/dev/null && { command -v chromium || command -v chrome || command -v google-chrome; } >/dev/null; }
# The only place where Debian's Alertmanager looks for what it words its messages with.
wordings=/usr/share/prometheus/alertmanager

has_monitoring() {
    local program
    for program in prometheus promtool prometheus-alertmanager amtool; do
        command -v "$program" >/dev/null || return
    done
    [ -e "$wordings" ]
}

# Unpacks Prometheus and Alertmanager with their tools into the target folder: installing the packages would start servers on the
# usual ports.
fetch_monitoring() {
    local folder=${CARGO_TARGET_DIR:-target}/prometheus packages=(prometheus prometheus-alertmanager)
    PATH=$PATH:$(realpath -m "$folder/usr/bin")
    has_monitoring && return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        die "missing, and there is no apt-get to fetch them with: prometheus, promtool, prometheus-alertmanager, amtool"
    say "Fetching ${packages[*]}"
    mkdir -p "$folder"
    # What a machine knows of packages may be old, or nothing. It may be root who fetches them, into a folder of its own.
    (
        cd "$folder" && rm -f ./*.deb || exit
        fetch() { apt-get download -qq -o APT::Sandbox::User="$(id -un)" "${packages[@]}"; }
        fetch || { as_root apt-get update -qq && fetch; } || exit
        for package in ./*.deb; do
            dpkg-deb -x "$package" . && rm "$package" || exit
        done
        [ -e "$wordings" ] || { as_root mkdir -p "${wordings%/*}" && as_root cp -r ".$wordings" "$wordings"; }
    ) || die "could not fetch ${packages[*]}"
    has_monitoring || die "the packages ${packages[*]} lack promtool or amtool"
}

has_linker() { command -v cc >/dev/null; }

# Runs each lesson as it stands. Each says what it teaches and fails if that is not so.
lessons() {
    local source lesson
    for source in examples/[0-9]*.rs; do
        lesson=$(basename "$source" .rs)
        # Run with servers of their own by the integration tests.
        grep -q DATABASE_URL "$source" && continue
        say "$lesson"
        timeout 60 "${CARGO_TARGET_DIR:-target}/debug/examples/$lesson" || return
    done
}

# Installs packages, only those that are missing, and only where apt-get is.
install_missing() {
    local packages=()
    has_linker || packages+=(build-essential)
    if ! has_postgres; then
        packages+=(postgresql)
        # Read by the package's own set-up: without it, installing would start a server on the usual port.
        if [ ! -e /etc/postgresql-common/createcluster.conf ] && command -v apt-get >/dev/null; then
            as_root mkdir -p /etc/postgresql-common
            echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        fi
    fi
    # The parts that bring no service, which would take the usual port.
    has_mariadb || packages+=(mariadb-server-core mariadb-client-core)
    has_redis || packages+=(redis-tools)
    # Looks at the page.
    has_chromium || packages+=(chromium chromium-driver)
    # Makes the certificates of the tests of TLS.
    command -v openssl >/dev/null || packages+=(openssl)
    [ ${#packages[@]} = 0 ] && return 0
    command -v apt-get >/dev/null || die "missing, and there is no apt-get to install it with: ${packages[*]}"
    say "Installing ${packages[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null ||
        die "could not install ${packages[*]}"
}

# The query macros in the tests are checked against committed data, whatever database the environment points to.
export SQLX_OFFLINE=true

command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || die "cargo is missing; see https://rustup.rs"
install_missing
fetch_monitoring

step "Build" cargo build --all-features --tests --bins --examples
if [ "$failed" = 0 ]; then
    step "Unit tests" cargo test --all-features --lib --bins -- "$@"
    step "Integration tests" cargo test --all-features --test it -- "$@"
    step "Programs in examples/" cargo test --all-features --example service --example report -- "$@"
    step "Lessons in examples/" lessons
    step "Examples in the documentation" cargo test --all-features --doc -- "$@"
fi

[ -z "$failures" ] || printf '\n==> What failed\n%s\n' "$failures"
say "Summary, after $((SECONDS - started)) s"
printf '%s\n' "${summary[@]}"
[ "$failed" = 0 ] && echo "All tests passed." || echo "Some tests FAILED; see above."
exit "$failed"
