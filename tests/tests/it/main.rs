//! End-to-end tests of gateway and simulator, on real sockets.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod altered_log;
#[cfg(test)]
mod api;
#[cfg(test)]
mod attachments;
#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod audit_trail;
#[cfg(test)]
mod audited;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod chromium;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client_token;
#[cfg(test)]
mod component;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crm;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod data_subject;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod demo_page;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod document;
#[cfg(test)]
mod event_stream;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod funnel;
#[cfg(test)]
mod genesys;
#[cfg(test)]
mod guest_chat;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod hostile_clients;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
#[cfg(test)]
mod mutual_tls;
#[cfg(test)]
mod npm_package;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod organizations;
#[cfg(test)]
mod page;
#[cfg(test)]
mod process;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod receivers;
#[cfg(test)]
mod reevaluation;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod rfc6455;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sensitive;
#[cfg(test)]
mod short_session;
#[cfg(test)]
mod sign_in;
mod simulation;
#[cfg(test)]
mod spa;
#[cfg(test)]
mod standard_webhooks;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token_family;
#[cfg(test)]
mod tutorial;
#[cfg(test)]
mod world;
