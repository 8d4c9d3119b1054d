"""A virtual machine in QEMU, without KVM, whose power, clock and network can be cut off."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

PATIENCE = 900.0
"""Seconds to wait for anything at most: an emulated processor is slow."""
DISKS = ("root", "lib", "srv")
"""/, /var/lib and /srv."""


class Machine:
    """A virtual machine, whose disks are copies of those in a folder."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._work, self._commands = folder, work, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners = {}
        for name in ("monitor", "agent"):
            self._listeners[name] = socket.socket(socket.AF_UNIX)
            self._listeners[name].bind(f"{work}/{name}")
            self._listeners[name].listen()
            self._listeners[name].settimeout(PATIENCE)
        for name in DISKS:
            disk = ("-b", f"{folder}/{name}.ext4", "-F", "raw", f"{work}/{name}.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *disk], check=True)  # noqa: S607

    def boot(self, clock: str = "", *, online: bool = True) -> float:
        """Boot, with a clock such as "2020-01-01T00:00:00", and return the seconds until that was done."""
        begun = time.monotonic()
        options = (
            "-nodefaults -no-reboot -display none -accel tcg -smp 2 -m 1024 -netdev user,id=net"
            " -device virtio-net,netdev=net,id=card -device virtio-serial -chardev socket,id=agent,path=agent"
            " -device virtserialport,chardev=agent,name=agent -qmp unix:monitor -serial file:console"
            f" -kernel {self._folder}/kernel -initrd {self._folder}/initrd"
        ).split()
        for name in DISKS:
            options += ["-drive", f"file={name}.qcow2,if=virtio"]
        kernel = ("-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=0")
        time_base = ("-rtc", f"base={clock or 'utc'}")
        command = ["nice", "-n", "5", "qemu-system-x86_64", *options, *kernel, *time_base]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self._work)
        self._agent, self._monitor = (self._listeners[name].accept()[0] for name in ("agent", "monitor"))
        self.monitor("qmp_capabilities")
        self.set_online(online=online)
        self.run("systemctl is-system-running --wait")
        return time.monotonic() - begun

    def monitor(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run a command of QEMU's monitor, and return its answer."""
        self._monitor.settimeout(PATIENCE)
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._monitor.makefile():
            if "return" in (answer := json.loads(line)):
                return answer["return"]
        raise ConnectionError(command)

    def set_online(self, *, online: bool) -> None:
        """Plug in the network cable, or unplug it."""
        self.monitor("set_link", name="card", up=online)

    def run(self, command: str) -> str:
        """Run a command in a shell of root, and return what it has printed; TimeoutError if it hangs."""
        self._commands += 1
        end, deadline, said = f"<{self._commands}>", time.monotonic() + PATIENCE, b""
        self._agent.settimeout(PATIENCE)
        self._agent.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo '{end}'\n".encode())
        while end.encode() not in said:
            if time.monotonic() > deadline:
                raise TimeoutError(command)
            said += self._agent.recv(65536)
        return said.decode(errors="replace").rpartition(end)[0].strip()

    def cut_power(self) -> None:
        """End it like a power cut."""
        if self._process:
            self._process.kill()
            self._process.wait()
