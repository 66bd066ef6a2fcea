FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VAR_DIR=/var/lib/feeds
WORKDIR /srv/feeds
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt \
 && useradd --system --uid 10001 --home-dir /srv/feeds feeds \
 && install -d -o 10001 /var/lib/feeds
COPY manage.py ./
COPY mydjangoapp mydjangoapp
COPY proj proj
ENV STATIC_ROOT=/srv/feeds/static
RUN python -m compileall -q mydjangoapp proj && SECRET_KEY=- VAR_DIR=/tmp/build python manage.py collectstatic -v0
USER 10001
EXPOSE 8000
CMD ["uvicorn", "proj.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--lifespan", "off"]
