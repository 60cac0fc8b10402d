# One GPU with vLLM: docker build -t secondthought . && docker run --gpus all -v $PWD/runs:/runs secondthought train rrr_countdown \
#     --model Qwen/Qwen2.5-1.5B-Instruct --set engine.backend=vllm --out /runs/first
# The image of vLLM brings CUDA, torch and transformers; what it brought stays as it is.
ARG VLLM=v0.32.0
FROM vllm/vllm-openai:${VLLM}
COPY pyproject.toml README.md LICENSE /package/
COPY src /package/src
RUN python3 -m pip freeze | grep -E "^(torch|torchvision|torchaudio|transformers|tokenizers|vllm|numpy)==" > /package/kept.txt \
    && python3 -m pip install --no-cache-dir -c /package/kept.txt "/package[lora,view,math,data]" \
    && python3 -c "import vllm, secondthought"
ENV OMP_WAIT_POLICY=PASSIVE HF_HOME=/runs/cache
VOLUME /runs
WORKDIR /runs
EXPOSE 8000
ENTRYPOINT ["secondthought"]
CMD ["doctor"]
