//! A whole network of agencies on one machine, without Docker.
