#!/bin/sh
# Runs on the target, in the folder of the version. Healthy: both components are there and hold something.
for component in api web; do
  if [ -z "$(ls -A "$component")" ]; then
    echo "$component is empty"
    exit 1
  fi
done
