//! Lists of rows, which are read by cursor in chunks of limited memory.
//!
//! ```text
//! paging    what a request asks for: `limit`, `cursor`, `order`
//! order     the order of a list, and in which direction a request reads it
//! key       the position of an item, in SQL and in a cursor
//! cursor    positions as text for clients
//! filter    conditions of a list, and the digest that identifies list and conditions
//! source    a list that can be read in chunks
//! table     a list that is read from a table
//! selected  the positions of the items that a response contains
//! reader    reads the requested part of a list
//! response  writes it, streamed if it is long
//! ```

mod chunk;
mod cursor;
mod filter;
mod key;
mod order;
mod paging;
mod reader;
mod response;
mod selected;
mod source;
mod table;
#[cfg(test)]
mod testing;

pub use filter::ListFilter;
pub use key::{IdKey, ListKey, NumberedTimeKey, TimeKey};
pub use order::ListOrder;
pub use paging::{CursorPaging, UnorderedPaging};
pub(super) use paging::{INVALID_PAGING, number_text, optional_number};
pub(super) use response::numbered_page;
pub use response::{fetch_list, list_response, list_total};
pub use table::TableList;
