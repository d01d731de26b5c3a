"""What the alarms of `/api/status` say, in Chinese, by their code; templates of their `facts`."""

from collections.abc import Mapping
from typing import Final

from ui.texts_zh_errors import Said

ALARMS: Final[Mapping[str, Said]] = {
    "gpu_not_used": Said(
        "全部在 CPU 上计算；可用的 GPU 内存：{gpus}",
        "请释放 GPU 内存，调低 worker.cache_tokens，或选择较小的模型。",
    ),
    "gpu_partly_used": Said(
        "有 {missing} 层未能加载到 GPU 上，已加载 {used} 层",
        "请释放 GPU 内存，或调低 worker.cache_tokens。",
    ),
    "gpu_aborted": Said(
        "工作进程在使用 {gpus} 时异常退出；现在全部在 CPU 上计算",
        "请更新 GPU 驱动后重新启动，或设置 worker.gpu_layers = 0。",
    ),
    "gpu_driver_missing": Said(
        "已安装 {backends} 后端，但找不到驱动；现在全部在 CPU 上计算",
        "请安装 GPU 驱动，或设置 worker.gpu_layers = 0。",
    ),
    "gpu_not_found": Said(
        "设置为 {wanted}，但没有这样的 GPU；现在全部在 CPU 上计算",
        "请用 sluice doctor 查看有哪些 GPU，并改正 worker.device 或 worker.gpu_layers。",
    ),
    "gpu_backend_missing": Said(
        "本机有 NVIDIA GPU，但没有被使用",
        "请用 make cuda 或 make vulkan 构建后端，或设置 worker.gpu_layers = 0。",
    ),
    "rule_failed": Said(
        "{file}：{error}；现在由内置规则决定", "请改正这个文件：规则进程重新启动时会重新读取。"
    ),
    "store_full": Said(
        "存储已用 {used} MB，上限 {bound} MB",
        "请调高 store.memory_mb 后重新启动，或删除不需要的会话。",
    ),
    "store_disk_full": Said("存储无法写入磁盘", "请清理磁盘。"),
}
