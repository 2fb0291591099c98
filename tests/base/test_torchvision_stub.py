import subprocess
import sys


def test_lpips_and_open_clip_import_in_a_fresh_process():
    program = (
        "from base.torchvision_stub import import_torchvision as load\n"
        "assert load() is load()\n"
        "import lpips, open_clip, torchvision.transforms\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
