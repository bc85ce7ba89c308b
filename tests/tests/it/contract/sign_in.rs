//! Refusals of a sign-in and of a sign-out.

use http::Method;

use super::Fixtures;
use crate::api::{Answer, Call};

impl Fixtures {
    pub(super) async fn sign_in(&self, status: u16, call: Call) -> Answer {
        match status {
            409 => {
                let session = call.path().trim_end_matches("/sign-in");
                self.healthy.send(Call::new(Method::DELETE, session)).await;
            }
            // a code works once
            _ => drop(self.healthy.send(call.clone()).await),
        }
        self.healthy.send(call).await
    }
}
