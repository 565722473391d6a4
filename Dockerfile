# Runs models and serves the page, on the CPU: docker build -t emotion . && docker run --rm -p 127.0.0.1:7860:7860 emotion
# A clip: docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/clips" -w /clips emotion emotion-infer --video_path clip.mp4
FROM python:3.12-slim AS build
COPY . /project
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /project

FROM python:3.12-slim
# No TensorFlow: models run in ONNX Runtime. A tenth more are other packages' tests; NumPy imports some of its own.
COPY requirements-inference.txt requirements-web.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/requirements-inference.txt -r /tmp/requirements-web.txt \
    && find /usr/local/lib -type d -name tests -not -path '*/numpy/*' -prune -exec rm -rf {} +
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl

# Whoever runs it, by --user, can write there what Matplotlib and downloaded models keep.
RUN useradd --create-home emotion && chmod 1777 /home/emotion
ENV HOME=/home/emotion
USER emotion
WORKDIR /home/emotion
EXPOSE 7860 8000
CMD ["emotion-demo", "--host", "0.0.0.0"]
