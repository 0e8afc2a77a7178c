%% Prints which messages quorum queues hold, from the state of their Raft machines: those
%% that are ready, those that consumers have at hand, and those that wait to be
%% dead-lettered. Nothing is delivered, so that no delivery is counted.
%%
%% `Names` is bound before. A line for each message, and one for each queue at its end:
%%
%%     m QUEUE FRESH RECEIVED ID    `f` where it is ready and was never delivered, `-` where
%%                                  that is not known; received in milliseconds or `-`;
%%                                  the id in base 64 or `-`
%%     q QUEUE HELD UNREAD      how many it held, and how many of those can't be read
Batch = 64,
Peeked = 1000,
%% A message is a cell of its index in the log and its header, wherever in the state it is.
%% The header is its size, the size and when it expires, or a map. That is so in all versions
%% of the machine, unlike the rest of its layout. Whether all were found is known from their
%% number. What is ready and was never delivered is in a queue of its own, and a delivery that
%% came back makes the header a map.
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
%% The state is copied, and searched here: the queue goes on meanwhile.
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
%% Reads entries of the log and prints them. Answers the indexes of those that it did not
%% get, one list a batch: they are gone, or can't be read.
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
%% One by one: an entry that is gone, or can't be read, takes no other one along.
Again = fun(At, Cell, Indexes, Log) ->
            lists:append([Read(At, Cell, [Index], Log, []) || Index <- Indexes])
        end,
%% Where the log can't be read at all, the queue itself reads what is ready, one place at a
%% time, from the first one on each time.
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
            %% It is not there.
            io:put_chars([$q, $\s, integer_to_list(At), " 0 0\n"]);
        ({At, Server, Before}) ->
            Total = rabbit_fifo:query_messages_total(Before),
            Cell = Cells(Before, false, #{}),
            %% The reader of the log wants the latest first.
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
            %% What was settled meanwhile is gone from the state, too.
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
%% All states first, and then the messages: what moves from one queue to the next is in
%% one of them.
States = [Begin(It) || It <- lists:zip(lists:seq(0, length(Names) - 1), Names)],
lists:foreach(Queue, States).
