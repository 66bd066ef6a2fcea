FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VAR_DIR=/var/lib/feeds
WORKDIR /srv/feeds
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt \
 && useradd --system --home-dir /srv/feeds feeds \
 && install -d -o feeds /var/lib/feeds
COPY manage.py ./
COPY mydjangoapp mydjangoapp
COPY proj proj
USER feeds
EXPOSE 8000
CMD ["gunicorn", "proj.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--threads", "8"]
