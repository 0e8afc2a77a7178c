%% Prints the messages of quorum queues from the state of their Raft machines: ready and
%% unacknowledged messages, and messages that wait to be dead-lettered. No message is
%% delivered, so no delivery is counted.
%%
%% `Names` must be bound. The output has one line per message, and one line at the end of
%% each queue:
%%
%%     m QUEUE FRESH RECEIVED ID    `f` if the message is ready and was never delivered, `-`
%%                                  if that is not known; received in milliseconds or `-`;
%%                                  the id in base64 or `-`
%%     q QUEUE HELD UNREAD          the number of messages, and of those that cannot be read
Batch = 64,
Peeked = 1000,
%% A message is a cell with its index in the log and its header, anywhere in the state.
%% The header is the size, the size and the expiry, or a map. This holds for all versions of
%% the machine, unlike the rest of its layout. The number of cells shows whether all were
%% found. Ready messages that were never delivered are in a separate queue; a returned
%% delivery has a map as its header.
Cells = fun Cells([Index, Size | Expiry], Fresh, Found)
                    when is_integer(Index), is_integer(Size), is_integer(Expiry) ->
                Found#{Index => Fresh};
            Cells([Index | Size], Fresh, Found) when is_integer(Index), is_integer(Size) ->
                Found#{Index => Fresh};
            Cells([Index | Header], _, Found) when is_integer(Index), is_map(Header) ->
                Found#{Index => false};
            Cells([Head | Tail], Fresh, Found) -> Cells(Tail, Fresh, Cells(Head, Fresh, Found));
            Cells(Tuple, Fresh, Found) when is_tuple(Tuple) ->
                Ready = tuple_size(Tuple) > 0 andalso element(1, Tuple) =:= rabbit_fifo_q,
                Cells(tuple_to_list(Tuple), Fresh orelse Ready, Found);
            Cells(Map, Fresh, Found) when is_map(Map) ->
                maps:fold(fun(Key, Value, Sum) -> Cells(Value, Fresh, Cells(Key, Fresh, Sum)) end,
                          Found, Map);
            Cells(_, _, Found) -> Found
        end,
%% The state is copied and searched in this process, so the queue is not blocked.
State = fun(Server) ->
            {ok, {_, It}, _} = ra:leader_query(Server, fun(It) -> It end, 30000),
            It
        end,
Line = fun(At, Fresh, Message) ->
           Received = case mc:get_annotation(rts, Message) of
                          Time when is_integer(Time) -> integer_to_list(Time);
                          _ -> "-"
                      end,
           Id = case mc:message_id(Message) of
                    {_, Text} when is_binary(Text), Text =/= <<>> -> base64:encode(Text);
                    Text when is_binary(Text), Text =/= <<>> -> base64:encode(Text);
                    _ -> "-"
                end,
           Mark = case Fresh of true -> $f; false -> $- end,
           [$m, $\s, integer_to_list(At), $\s, Mark, $\s, Received, $\s, Id, $\n]
       end,
Entry = fun(At, Cell, {Index, _, {'$usr', _, Command, _}}) ->
            {Index, Line(At, maps:get(Index, Cell), rabbit_fifo:get_msg(Command))}
        end,
%% Reads entries of the log and prints them. Returns the indexes of the entries that it could
%% not read, one list per batch: they are gone or unreadable.
Read = fun Read(_, _, [], _, Left) -> lists:append(Left);
           Read(At, Cell, Indexes, Log, Left) ->
               {Now, Later} = try lists:split(Batch, Indexes) catch _:_ -> {Indexes, []} end,
               try ra_log_reader:sparse_read(Log, Now, []) of
                   {Entries, Next} ->
                       {Got, Lines} = lists:unzip([Entry(At, Cell, It) || It <- Entries]),
                       io:put_chars(Lines),
                       Read(At, Cell, Later, Next, [Now -- Got | Left])
               catch _:_ -> Read(At, Cell, Later, Log, [Now | Left])
               end
       end,
%% Reads entries one by one, so that a missing or unreadable entry does not affect others.
Again = fun(At, Cell, Indexes, Log) ->
            lists:append([Read(At, Cell, [Index], Log, []) || Index <- Indexes])
        end,
%% If the log cannot be read at all, the queue itself peeks at ready messages, one position
%% at a time, each time from the first position.
Peek = fun Peek(_, _, Place) when Place > Peeked -> Peeked;
           Peek(At, Server, Place) ->
               try ra:aux_command(Server, {peek, Place}) of
                   {ok, {_, Message}} ->
                       io:put_chars(Line(At, false, Message)),
                       Peek(At, Server, Place + 1);
                   _ -> Place - 1
               catch _:_ -> Place - 1
               end
       end,
Queue = fun(At) when is_integer(At) ->
            %% The queue does not exist.
            io:put_chars([$q, $\s, integer_to_list(At), " 0 0\n"]);
        ({At, Server, Before}) ->
            Total = rabbit_fifo:query_messages_total(Before),
            Cell = Cells(Before, false, #{}),
            %% The reader of the log expects the latest entry first.
            Held = lists:reverse(lists:sort(maps:keys(Cell))),
            Count = length(Held),
            Left = try Count =:= Total andalso ra:register_external_log_reader(Server) of
                       false -> Held;
                       Log ->
                           case Read(At, Cell, Held, Log, []) of
                               Most when length(Most) =:= Count, Count > Batch -> Most;
                               Some -> Again(At, Cell, Some, Log)
                           end
                   catch _:_ -> Held
                   end,
            %% Messages that were settled meanwhile are gone from the state, too.
            Still = case Left of
                        [] -> 0;
                        _ when Count =/= Total -> Total;
                        _ -> Now = Cells(State(Server), false, #{}),
                             length([Index || Index <- Left, maps:is_key(Index, Now)])
                    end,
            Unread = case Still > 0 andalso length(Left) =:= Count of
                         true -> max(0, Still - Peek(At, Server, 1));
                         false -> Still
                     end,
            io:put_chars([$q, $\s, integer_to_list(At), $\s, integer_to_list(Total), $\s,
                          integer_to_list(Unread), $\n])
        end,
Begin = fun({At, Name}) ->
            case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, Name)) of
                {ok, It} -> {At, amqqueue:get_pid(It), State(amqqueue:get_pid(It))};
                {error, not_found} -> At
            end
        end,
%% All states are read before the messages, so that a message that moves from one queue to
%% the next is in one of the states.
States = [Begin(It) || It <- lists:zip(lists:seq(0, length(Names) - 1), Names)],
lists:foreach(Queue, States).
