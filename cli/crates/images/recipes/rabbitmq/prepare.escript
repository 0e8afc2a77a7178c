#!/usr/bin/env escript
%% Prepares an unpacked RabbitMQ for small size and a fast start, while the image is built.
-mode(compile).

main(["trim", Plugins | Roots]) ->
    trim(Plugins, [list_to_atom(R) || R <- Roots]);
main(["boot", Plugins, Modules, Out]) ->
    boot(Plugins, Modules, Out).

%% Removes the plugins that Roots do not need, and from every module what only
%% debuggers and shells read: 38 MB of modules become 15 MB. Each start also
%% discovers, checks and reads the schema of every plugin that is there.
trim(Plugins, Roots) ->
    code:add_pathsz(filelib:wildcard(Plugins ++ "/*/ebin")),
    Needed = needed(Roots, []),
    [ok = file:del_dir_r(filename:dirname(Ebin))
     || Ebin <- filelib:wildcard(Plugins ++ "/*/ebin"),
        not lists:member(app_of(Ebin), Needed)],
    Beams = filelib:wildcard(Plugins ++ "/*/ebin/*.beam")
        ++ filelib:wildcard(code:lib_dir() ++ "/*/ebin/*.beam"),
    [strip(Beam) || Beam <- Beams],
    io:format("~b modules stripped~n", [length(Beams)]).

needed([], Seen) ->
    Seen;
needed([App | Rest], Seen) ->
    case lists:member(App, Seen) of
        true ->
            needed(Rest, Seen);
        false ->
            case application:load(App) of
                ok -> ok;
                {error, {already_loaded, App}} -> ok
            end,
            {ok, Uses} = application:get_key(App, applications),
            {ok, Includes} = application:get_key(App, included_applications),
            needed(Uses ++ Includes ++ Rest, [App | Seen])
    end.

app_of(Ebin) ->
    [AppFile] = filelib:wildcard(Ebin ++ "/*.app"),
    list_to_atom(filename:basename(AppFile, ".app")).

%% Attributes must stay: boot steps and feature flags are found in them.
%% Line numbers and local names stay for readable stack traces.
strip(Beam) ->
    {ok, Code} = file:read_file(Beam),
    {ok, {_, Stripped}} = beam_lib:strip(Code, ["Attr", "CInf", "Line", "LocT"]),
    ok = file:write_file(Beam, Stripped).

%% Writes Out.boot: Erlang's start_sasl with every module of the training run
%% loaded before the kernel starts. The code server stays in interactive mode,
%% so a module that is not listed (another plugin, say) still loads on demand.
boot(Plugins, ModulesFile, Out) ->
    {ok, [Trained]} = file:consult(ModulesFile),
    [Sasl] = filelib:wildcard(code:root_dir() ++ "/releases/*/start_sasl.script"),
    {ok, [{script, Id, Commands}]} = file:consult(Sasl),
    {Kernel, [{kernel_load_completed} = Loaded | Rest]} =
        lists:splitwith(fun(C) -> C =/= {kernel_load_completed} end, Commands),
    {_InteractiveLoads, [{progress, modules_loaded} = Progress, {path, _} | Start]} =
        lists:splitwith(fun(C) -> C =/= {progress, modules_loaded} end, Rest),
    Early = lists:append([Modules || {primLoad, Modules} <- Kernel]),
    ByDir = maps:groups_from_list(
              fun({_, File}) -> filename:dirname(File) end,
              fun({Module, _}) -> Module end,
              [{M, F} || {M, F} <- Trained, preloadable(M, F), not lists:member(M, Early)]),
    %% A search path of one directory at a time: no module is looked for elsewhere.
    Preload = lists:append([[{path, [Dir]}, {primLoad, Modules}] || {Dir, Modules} <- lists:sort(maps:to_list(ByDir))]),
    Path = {path, filelib:wildcard(code:lib_dir() ++ "/*/ebin") ++ filelib:wildcard(Plugins ++ "/*/ebin")},
    Script = {script, Id, Kernel ++ Preload ++ [Loaded, Progress, Path | Start]},
    ok = file:write_file(Out ++ ".script", io_lib:format("~tp.~n", [Script])),
    ok = systools:script2boot(Out),
    io:format("~b modules preloaded~n", [lists:sum([length(Ms) || Ms <- maps:values(ByDir)])]).

%% Not the modules that the broker compiles while it starts (they have no file),
%% nor those that load native code, which need a running system.
preloadable(Module, [_ | _] = File) ->
    case file:read_file(File) of
        {ok, Code} -> not erlang:has_prepared_code_on_load(erlang:prepare_loading(Module, Code));
        {error, enoent} -> false
    end;
preloadable(_, _) ->
    false.
