//! The imports that need a grant: the time of day, chance, and requests over HTTP.
//!
//! A component that imports one without a grant is not even linked. What is granted is bounded
//! here, request by request; how it is done is a matter of [`Outside`](super::outside::Outside).
//! Who may send requests can do so through `wasi:http` as well: see [`super::wasi`].

use super::bindings::tidegate::gate::http::{self, Failure, Request, Response};
use super::bindings::tidegate::gate::{random, wall_clock};
use super::imports::CallData;
use super::limiter::Breach;
use super::outside::FetchError;
use super::words;

impl wall_clock::Host for CallData {
    fn now_ms(&mut self) -> wasmtime::Result<f64> {
        self.count_host_call()?;
        Ok(self.wall().ms() as f64)
    }
}

impl random::Host for CallData {
    fn number(&mut self) -> wasmtime::Result<f64> {
        self.count_host_call()?;
        let mut bytes = [0; 8];
        self.outside().fill(&mut bytes);
        self.recording.drew(&bytes);
        // As many bits as a number below 1 can tell apart.
        Ok((u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64)
    }

    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        self.count_host_call()?;
        if count > RANDOM_BYTES {
            let breach = Breach::Random { wanted: count, limit: RANDOM_BYTES };
            return Err(wasmtime::Error::new(breach));
        }
        let mut bytes = vec![0; count as usize];
        self.outside().fill(&mut bytes);
        self.recording.drew(&bytes);
        Ok(bytes)
    }
}

impl http::Host for CallData {
    async fn fetch(&mut self, request: Request) -> wasmtime::Result<Result<Response, Failure>> {
        self.count_host_call()?;
        let fetched = self.fetched(request).await;
        Ok(fetched.map_err(|error| Failure {
            kind: error.kind().to_owned(),
            reason: words::clean(&error.to_string()),
        }))
    }
}

impl CallData {
    async fn fetched(&mut self, request: Request) -> Result<Response, FetchError> {
        let request = self.requests.permit(request)?;
        let outside = self.outside();
        let outcome = outside.fetch(&request).await;
        self.recording.fetched(&request, &outcome);
        let response = outcome?;
        Ok(Response { status: response.status, headers: response.headers, body: response.body })
    }
}

/// The most random bytes at a time.
const RANDOM_BYTES: u32 = 4_096;
