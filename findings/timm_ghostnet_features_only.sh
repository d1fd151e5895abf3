#!/usr/bin/env bash
# timm 1.0.31: the backbone that `features_only=True` makes of a GhostNet (1, 2 and 3) ends at the first of the layers
# of stride 32 and takes stride 16 before its last layers, so that about a third of the backbone's parameters are left.
#
# One would guess: of every stride the last map, as timm's other mobile networks give it and its documentation of
# feature extraction has it (MobileNetV3 and EfficientNet below: features_only drops the classifier's head and nothing
# else). GhostNet's `feature_info` names blocks 1, 3, 5, 7 of 10: those that halve the size, not those before the next
# halving. No warning is given, pretrained weights load without complaint, shapes and strides are as expected.
# It matters to whoever builds a decoder of depth or segmentation on "GhostNet": the pyramid has 80 channels at stride
# 16 in place of 112, and the four last blocks, most of the network, are never run.
#
# Seen on CPython 3.11, Linux x86_64:
#   ghostnet_100 backbone 2671428 features_only 948388 (36 %) channels [16, 24, 40, 80, 160]
#   ghostnetv2_100 backbone 3645828 features_only 1246948 (34 %) channels [16, 24, 40, 80, 160]
#   ghostnetv3_100 backbone 5617948 features_only 1920828 (34 %) channels [16, 24, 40, 80, 160]
#   mobilenetv3_large_100 backbone 2971952 features_only 2971952 (100 %) channels [16, 24, 40, 112, 960]
#   efficientnet_b0 backbone 3597948 features_only 3595388 (100 %) channels [16, 24, 40, 112, 320]
#   ghostnet_100 layer of stride 16: last has 112 channels, features_only gives 80
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1

cat > "$folder/look.py" <<'PY'
import timm
import torch


def parameters(network):
    return sum(values.numel() for values in network.parameters())


image = torch.zeros(1, 3, 224, 224)
for name in ("ghostnet_100", "ghostnetv2_100", "ghostnetv3_100", "mobilenetv3_large_100", "efficientnet_b0"):
    whole = timm.create_model(name)
    heads = ("conv_head", "classifier")
    backbone = sum(values.numel() for key, values in whole.named_parameters() if not key.startswith(heads))
    pyramid = timm.create_model(name, features_only=True).eval()
    kept = parameters(pyramid)
    channels = [level.shape[1] for level in pyramid(image)]
    print(f"{name} backbone {backbone} features_only {kept} ({kept / backbone:.0%}) channels {channels}".replace("%)", " %)"))

whole = timm.create_model("ghostnet_100").eval()
strides = {}
x = whole.act1(whole.bn1(whole.conv_stem(image)))
for block in whole.blocks:
    x = block(x)
    strides[224 // x.shape[2]] = x.shape[1]
given = dict(zip((2, 4, 8, 16, 32), timm.create_model("ghostnet_100", features_only=True).feature_info.channels()))
print(f"ghostnet_100 layer of stride 16: last has {strides[16]} channels, features_only gives {given[16]}")
PY

"$folder/venv/bin/python" "$folder/look.py" | tee "$folder/seen"
sed -n 's/^#   \(.*_100\|efficientnet_b0\)\( .*\)$/\1\2/p' "$0" | diff - "$folder/seen"
echo "as stated: timm's features_only leaves out most of GhostNet"
