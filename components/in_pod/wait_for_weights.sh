# Wait for a marker: wait_for_weights.sh MARKER SECONDS, where SECONDS are between two looks at it.
# It asks for that one name and lists no folder: the kernel would keep the list, empty, for as long as the pod lives.
# The first process of a container is not ended by a signal that it did not ask for.
trap 'exit 143' TERM
while [ ! -e "$1" ]; do
  echo "waiting for $1, which a Job writes when all weights are there: kubectl --namespace models get jobs"
  sleep "$2" &
  wait "$!"
done
