//! The way back into JavaScript for work that runs on the worker pool.
//!
//! One long-lived weak threadsafe function per environment carries every completion to a map of resolvers on the other
//! side (`plugin/native.ts`). A promise per call would cost a threadsafe function each, and many of those crash Bun
//! 1.3 when an environment ends while they are pending; so do `AsyncTask`s and asynchronous cleanup hooks.
//!
//! Weak means that pending work does not keep the process alive; whoever wants to wait holds a timer.

use napi::Status;
use napi::bindgen_prelude::{External, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use orchestrator_worker::Ticket;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use super::error::{coded, from_napi, whole};

type Completion = FnArgs<(f64, String)>;
type Callback = ThreadsafeFunction<Completion, (), Completion, Status, false, true>;

/// Carries the results of native work to the environment that opened it.
///
/// It crosses as an `External` and not as a class: in a build with assertions, napi aborts the process when Bun
/// finalizes a class instance in a worker that is being terminated.
pub struct Port {
    calls: Arc<Calls>,
}

/// Opens the port on which `callback` gets every completion: the id of the call, and its result as JSON, which is
/// `{ "ok": … }` or `{ "error": { "code", "message" } }`. It is called once for each call that was accepted, from the
/// event loop, unless the port is closed first. A port does not keep the process alive. Open one per environment, and
/// close it with {@link closePort} before the environment ends.
#[napi(
    catch_unwind,
    strict,
    ts_args_type = "callback: (id: number, json: string) => void",
    ts_return_type = "ExternalObject<'Port'>"
)]
pub fn connect(callback: Function<'_, Completion, ()>) -> napi::Result<External<Port>, String> {
    let callback = callback
        .build_threadsafe_function::<Completion>()
        .callee_handled::<false>()
        .weak::<true>()
        .build()
        .map_err(|error| from_napi(&error))?;
    let calls = Calls { callback: Mutex::new(Some(callback)), tickets: Mutex::new(HashMap::new()) };
    Ok(External::new(Port { calls: Arc::new(calls) }))
}

/// Has the event loop look for completions once more; `callback` gets the id -1 for it, and no completion.
///
/// Bun 1.3 forgets a completion that comes in the very moment in which it has found no further one: it hands that out with
/// the next only, which may never come. Seen once in some forty thousand. So while calls wait, this is to be called now and
/// then.
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>")]
pub fn ring(port: &External<Port>) {
    port.calls.send(-1.0, String::new());
}

/// Cancels every call of a port and frees what it holds; no completion comes afterwards. Closing twice does nothing.
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>")]
pub fn close_port(port: &External<Port>) {
    port.calls.close();
}

impl Port {
    /// Starts a call under `id`, which must be a whole number that no pending call has. `start` gets the right to
    /// complete the call, to be used on another thread, and returns the ticket that cancels it; or, when the call
    /// could not be started, the completion to be sent.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a bad id, `PORT_CLOSED` when the port is closed.
    pub(crate) fn begin(
        &self,
        id: f64,
        start: impl FnOnce(Reply) -> Result<Ticket, String>,
    ) -> napi::Result<(), String> {
        let key = whole("id", id)?;
        if self.calls.callback.lock().is_none() {
            return Err(coded("PORT_CLOSED", "the port is closed; connect again"));
        }
        // Held while the call starts: its completion looks for the ticket, and must find it.
        let mut tickets = self.calls.tickets.lock();
        if tickets.contains_key(&key) {
            return Err(coded("INVALID_ARGUMENT", format!("id: {key} is in use; count upwards")));
        }
        match start(Reply { calls: Arc::clone(&self.calls), id, key }) {
            Ok(ticket) => {
                tickets.insert(key, ticket);
            }
            Err(json) => self.calls.send(id, json),
        }
        Ok(())
    }

    /// Cancels the call under `id`; nothing happens when it has ended or never was.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` when `id` cannot be the id of a call.
    pub(crate) fn cancel(&self, id: f64) -> napi::Result<(), String> {
        let key = whole("id", id)?;
        if let Some(ticket) = self.calls.tickets.lock().get(&key) {
            ticket.cancel();
        }
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.calls.close();
    }
}

/// The calls of one port that have not ended, shared with their completions.
struct Calls {
    callback: Mutex<Option<Callback>>,
    tickets: Mutex<HashMap<u64, Ticket>>,
}

impl Calls {
    fn send(&self, id: f64, json: String) {
        if let Some(callback) = self.callback.lock().as_ref() {
            // The queue holds no more than there are calls, so what may fail here is an environment that is ending,
            // in which no one waits.
            callback.call((id, json).into(), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    fn close(&self) {
        let callback = self.callback.lock().take();
        drop(callback);
        let tickets = std::mem::take(&mut *self.tickets.lock());
        for ticket in tickets.into_values() {
            ticket.cancel();
        }
    }
}

/// The right to complete one call.
pub(crate) struct Reply {
    calls: Arc<Calls>,
    id: f64,
    key: u64,
}

impl Reply {
    /// Completes the call.
    pub(crate) fn finish(self, json: String) {
        self.calls.tickets.lock().remove(&self.key);
        self.calls.send(self.id, json);
    }
}
