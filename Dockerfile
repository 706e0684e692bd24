# The image that deploy/kuberay-rayjob.yaml runs: docker build -t registry.example.org/latentswarm .
ARG RAY_VERSION=2.60.0
FROM rayproject/ray:${RAY_VERSION}-py311

WORKDIR /app/latentswarm
COPY --chown=ray . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[cluster]'
