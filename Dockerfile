# The image that deploy/kuberay-rayjob.yaml runs: docker build -t registry.example.org/latentswarm .
ARG RAY_VERSION=2.60.0
FROM rayproject/ray:${RAY_VERSION}-py311

# The folder belongs to the user of the base image, for pip builds in it.
USER root
WORKDIR /app/latentswarm
COPY . .
RUN chown -R ray .
USER ray
RUN pip install --no-cache-dir --constraint constraints.txt '.[cluster]'
