# What the other files of this folder share; sourced by build.sh.

cargo_home=${CARGO_HOME:-$HOME/.cargo}

# Installs Debian packages that are missing, or says which they are and ends.
debian() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "install these packages, then run this again: ${missing[*]}" >&2
    exit 1
  fi
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# No path of the machine may get into a component.
no_paths_in() {
  local file path
  for file in "$@"; do
    for path in "$root" "$cargo_home" "$HOME"; do
      if grep -qaF -- "$path" "$file"; then
        echo "$file holds a path of this machine: $path" >&2
        exit 1
      fi
    done
  done
}
