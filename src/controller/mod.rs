//! L6, the controller: creates, grows and deletes topics, changes configs, elects leaders.
