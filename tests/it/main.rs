//! The real program as its users meet it: started as a process, reached over sockets, ended by signals.
//!
//! What the executor answers is proven by the golden transcripts, without sockets. Here is what only a process with real
//! sockets and real time can show: starting and ending, listening, limits of buffers and descriptors, peers that are slow,
//! hostile or gone, and that nobody notices them who behaves.
//!
//! Every test has a server, a folder and a port of its own, so they run side by side. None waits a fixed time: each waits
//! for what it wants to see, until a deadline ([`weir::eventually`]).

mod acl;
mod aof_journal;
mod append_only;
mod broker;
mod broker_bodies;
mod broker_steps;
mod check_files;
mod clients;
mod configuration;
mod crash;
mod eviction;
mod functions;
mod keyspace;
mod limits;
mod listening;
mod loading;
mod migrate;
mod protocol;
mod pubsub;
mod registry;
mod registry_files;
mod registry_leases;
mod registry_releases;
mod registry_watch;
mod scripts;
mod slow_and_hostile;
mod snapshots;
mod start_and_end;
mod tls;
mod turns;
mod unsaved;
mod users;
mod waiting;
mod weir;
mod wire;
