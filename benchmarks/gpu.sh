#!/usr/bin/env bash
# The first measurements on a GPU, one part at a time, each under eight minutes:
#
#   benchmarks/gpu.sh PART [--small]
#
#   lovasz        the Lovász-softmax of 19 x 1.57 million pixels, ranked in three ways
#   train_step-N  a training step with N images of 473², bfloat16, with and without remat, against PyTorch's; N = 4, 7, 28;
#                 train_step is all three
#   inference     the parsing network at 473², bfloat16, batches of 1 and 32
#   profile       what the GPU waits for between the steps of a run
#   precision     500 steps in float32 and in bfloat16 from equal weights
#   input         reading training examples with 1 to 16 threads
#
# It needs JAX for the GPU, PyTorch (pip install '.[bench]') and no network. Tables are printed as they are made and kept in
# $OUT (runs/gpu) as PART.txt. --small measures nothing: it shows on a CPU that a part runs. $PYTHON is the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-} small=${2:-}
out=${OUT:-runs/gpu} python=${PYTHON:-python}
mkdir -p "$out"
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$out/xla} PYTHONUNBUFFERED=1

size=(--size 473) network=() repeats=()
images=473 batch=7 batches=(4 7 28) epochs=10 model=()
if [[ $small ]]; then
  export XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiles sooner
  size=(--size 64) network=(--backbone=tiny --width=8) repeats=(--repeats=1)
  images=64 batch=2 batches=(2) epochs=1 model=(--config.model.backbone=tiny --config.model.width=8)
fi

bench() { "$python" -m "benchmarks.$@"; }

# A run on drawn faces in $out/NAME: 50 steps per epoch, then a score.
train() {
  rm -rf "$out/$1"
  "$python" main.py --config=configs/default.py --workdir="$out/$1" --config.dataset.data_dir="$out/data" \
    --config.dataset.synthetic.{train=$((50 * batch)),val=28,test=1,size=$images} \
    --config.input.{height=$images,width=$images} --config.self_regulation.enabled=False \
    --config.training.{batch_size=$batch,epochs=$epochs,log_every=25} --config.evaluation.every_epochs=0 \
    "${model[@]}" "${@:2}"
}

run() {
  case $part in
    lovasz) bench lovasz "${size[@]}" --batch=$batch "${repeats[@]}" ;;
    train_step | train_step-*)
      if [[ $part == *-* ]]; then batches=("${part#*-}"); fi
      bench train_step --dtype=bfloat16 "${size[@]}" --batch "${batches[@]}" --steps=10 --remat "${network[@]}" \
        "${repeats[@]}" ;;
    inference) bench inference --dtype=bfloat16 "${size[@]}" --batch 1 32 "${network[@]}" "${repeats[@]}" ;;
    profile)
      epochs=1 train profile --config.profile=20 --config.model.dtype=bfloat16
      bench gaps "$out/profile/profile" ;;
    precision)
      for dtype in float32 bfloat16; do train $dtype --config.model.dtype=$dtype; done
      bench precision "$out/float32" "$out/bfloat16" ;;
    input)
      threads=(1 2 4 8 16) images=64 rounds=3
      if [[ $small ]]; then threads=(1 2) images=8 rounds=1; fi
      bench input_pipeline --threads "${threads[@]}" --batch=$((images / 2)) --images=$images --image-sizes 512 \
        --rounds=$rounds ;;
    *) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 2 ;;
  esac
}

run 2>&1 | tee "$out/${part:-help}.txt"
