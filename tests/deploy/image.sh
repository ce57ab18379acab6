#!/bin/sh
# Runs the steps and the entry point of the image in a mount namespace and a network of its own, as root:
#   unshare --mount --propagation private sh image.sh CONTEXT PYTHON CONFIG DSN RELAY SOCKET
# RELAY is a script that makes the database's SOCKET available at 127.0.0.1:5432.
# The Dockerfile's instructions are in the variables RUN, USER, ENVIRONMENT, ENTRYPOINT and CMD.
set -eu
context=$1 python=$2 config=$3 dsn=$4 relay=$5 socket=$6

# A root like that of the image: Python, the build context, and a place for /opt/sitelatch and /etc/sitelatch.
mount -t tmpfs tmpfs /mnt
mkdir /mnt/opt /mnt/etc /mnt/python /mnt/src
mount --bind "$python" /mnt/python
for folder in /opt/*; do
    [ ! -d "$folder" ] || { mkdir "/mnt$folder" && mount --bind "$folder" "/mnt$folder"; }
done
mkdir /mnt/opt/sitelatch
mount --rbind /mnt/opt /opt
cp -a "$context/." /mnt/src
cp -a /etc/. /mnt/etc
mkdir -p /mnt/etc/sitelatch
cp "$config" /mnt/etc/sitelatch/sitelatch.toml
echo '127.0.0.1 api' >> /mnt/etc/hosts
mount --bind /mnt/etc /etc

# The build. An interpreter that was built as a shared library needs the path of the library.
export LD_LIBRARY_PATH=/mnt/python/lib
(cd /mnt/src && PATH=/mnt/python/bin:$PATH sh -c "$RUN")
rm -r /mnt/src

# The container: a read-only root, the image's user and environment, no capabilities, no home.
awk '{ print $5 }' /proc/self/mountinfo | sort -r | while read -r place; do
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
export LD_LIBRARY_PATH
exec unshare --net sh -eu -c '
dsn=$1
ip link set lo up
/mnt/python/bin/python3 "$2" "$3" > /dev/null &
relay=$! service= api=
trap "kill \$relay \$service \$api 2>/dev/null || true" EXIT
image="setpriv --reuid ${USER%:*} --regid ${USER#*:} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs
    env -i LD_LIBRARY_PATH=$LD_LIBRARY_PATH $ENVIRONMENT SITELATCH_DATABASE__URL=$dsn"
at="--config /etc/sitelatch/sitelatch.toml"

! $image touch /mnt/x /tmp/x /etc/sitelatch/x 2>/dev/null
echo "the root is read-only"
until /mnt/python/bin/python3 -c "import socket; socket.create_connection((\"127.0.0.1\", 5432))" 2>/dev/null; do
    sleep 0.1
done
$image $ENTRYPOINT migrate $at
$image $ENTRYPOINT sites add $at --workspace acme shop
key=$($image $ENTRYPOINT users create $at --workspace acme --site shop --by-name Ada --by-email ada@acme.example |
    sed "s/.*\"api_key\":\"\([^\"]*\)\".*/\1/")
$image python -m sitelatch.sample_api 0.0.0.0:9000 &
api=$!
$image $ENTRYPOINT $CMD &
service=$!
tries=0
until $image $ENTRYPOINT healthcheck $at && curl -sS http://127.0.0.1:9000/api/health; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || exit 1
    sleep 0.3
done
echo "status without a key: $(curl -sS -o /dev/null -w "%{http_code}" http://127.0.0.1:8080/api/sites/shop/uptime)"
echo "with a key: $(curl -sS --fail-with-body -H "X-API-Key: $key" http://127.0.0.1:8080/api/sites/shop/uptime)"
echo "page: $(curl -sS -o /dev/null -w "%{http_code}" http://127.0.0.1:9091/admin/)"
kill -"$STOPSIGNAL" $service
wait $service
service=
echo "stopped with 0"
' image "$dsn" "$relay" "$socket"
