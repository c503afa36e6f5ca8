#!/bin/sh
# Install the udev rules, make the group, let udev read them and apply them to what is plugged in.
#   sudo ./install.sh              install, and add the user who called sudo to the group
#   sudo ./install.sh --uninstall  take the rules away again (the group stays)
#   ./install.sh --root DIR        copy below DIR only (for packagers and tests): no group, no udev
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=70-photonlink.rules
group=photonlink
root=
action=install

while [ $# -gt 0 ]; do
  case $1 in
    --uninstall) action=uninstall ;;
    --root)
      [ $# -ge 2 ] || { echo "install.sh: --root needs a folder" >&2; exit 2; }
      root=$2
      shift
      ;;
    *) echo "install.sh: unknown option $1 (known: --uninstall, --root DIR)" >&2; exit 2 ;;
  esac
  shift
done

target=$root/etc/udev/rules.d/$name
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
  echo "install.sh: writing to /etc/udev needs root: sudo $0" >&2
  exit 1
fi

if [ "$action" = uninstall ]; then
  rm -f -- "$target"
  echo "removed $target"
else
  mkdir -p -- "$(dirname -- "$target")"
  install -m 0644 -- "$here/$name" "$target"
  echo "installed $target"
fi
[ -z "$root" ] || exit 0

if [ "$action" = install ]; then
  getent group "$group" >/dev/null || groupadd --system "$group"
  if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    usermod -a -G "$group" "$SUDO_USER"
    echo "added $SUDO_USER to the group $group: log out and in again"
  fi
fi
udevadm control --reload
udevadm trigger --action=change --subsystem-match=usb
udevadm trigger --action=change --subsystem-match=tty
echo "done; re-plug an instrument that is still refused"
