# Runs models and serves the page, on the CPU: docker build -t emotion . && docker run --rm -p 127.0.0.1:7860:7860 emotion
# A clip: docker run --rm -v "$PWD:/clips" -w /clips emotion emotion-infer --video_path clip.mp4
FROM python:3.12-slim

# No TensorFlow: models run in ONNX Runtime, and the image is a quarter of the size.
COPY requirements-inference.txt requirements-web.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/requirements-inference.txt -r /tmp/requirements-web.txt

COPY . /tmp/project
RUN pip install --no-cache-dir --no-deps /tmp/project && rm -rf /tmp/project

RUN useradd --create-home emotion
USER emotion
WORKDIR /home/emotion
EXPOSE 7860
CMD ["emotion-demo", "--host", "0.0.0.0"]
